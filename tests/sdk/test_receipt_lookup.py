from typing import Any

import pytest
import typer
from gpunode.errors import InvalidRequest
from gpunode.receipt_lookup import check_receipt_id, full_receipt_id
from gpunode_protocol.ledger_entries import LedgerEntry
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.receipt_checks import open_receipt
from gpunode_protocol.tracker_api import EntriesReply, OwnEntry

from tests.sdk.proofs import entry_of
from tests.sdk.world import HELLO, World

FIRST, SECOND = "12345678a" + "0" * 55, "12345678b" + "0" * 55


class _Client:
    """Has one page of the ledger for each receipt."""

    def __init__(self, entry: LedgerEntry, *receipts: str) -> None:
        assert entry.settled is not None
        settled = entry.settled
        self.pages = [
            entry.model_copy(update={"settled": settled.model_copy(update={"receipt": bytes.fromhex(receipt)})})
            for receipt in receipts
        ]

    def ledger_entries(self, *, limit: int, cursor: str | None) -> EntriesReply:
        """Return the page that the cursor names."""
        assert limit == 200
        number = int(cursor or 0)
        following = str(number + 1) if number + 1 < len(self.pages) else None
        return EntriesReply(entries=(OwnEntry(entry=self.pages[number]),), next_cursor=following)


@pytest.fixture
async def client(world: World) -> Any:
    """An account with two receipts; one of them stands in two entries."""
    world.add_node()
    async with world.client() as real:
        receipt = (await real.chat(messages=HELLO)).receipt
    return _Client(entry_of(world.keys, receipt.receipt, receipt.voucher), FIRST, SECOND, FIRST)


def test_a_unique_beginning_is_enough(client: Any) -> None:
    """On whatever page of the ledger it is, and however often."""
    assert full_receipt_id(client, "12345678a") == FIRST
    assert full_receipt_id(client, "12345678b0000") == SECOND


def test_a_whole_id_is_not_looked_up() -> None:
    """It may be anybody's."""
    nobody: Any = None
    assert full_receipt_id(nobody, FIRST) == FIRST


def test_an_ambiguous_beginning_lists_the_receipts(client: Any) -> None:
    """The user picks one."""
    with pytest.raises(InvalidRequest, match=f"{FIRST}, {SECOND}"):
        full_receipt_id(client, "12345678")


def test_an_unknown_beginning_says_so(client: Any) -> None:
    """With what to do."""
    with pytest.raises(InvalidRequest, match="begins with 99999999"):
        full_receipt_id(client, "99999999")


@pytest.mark.parametrize("text", ["1234567", "nothing!", "g" * 64, "0" * 65, ""])
def test_what_cannot_be_an_id_is_misuse(text: str) -> None:
    """Before anything is asked."""
    with pytest.raises(typer.BadParameter, match="64 hex digits"):
        check_receipt_id(text)


def test_real_ids_pass(proof: ReceiptProof) -> None:
    """Whole or their beginning."""
    receipt = open_receipt(proof.receipt).digest.hex()
    check_receipt_id(receipt)
    check_receipt_id(receipt[:8])

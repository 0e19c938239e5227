"""Ledger entries add up to zero and name who may read them."""

import pytest
from gpunode_protocol.ledger_entries import LedgerEntry, SettledJob
from gpunode_protocol.merkle import leaf_hash
from gpunode_protocol.tasks import Task
from gpunode_tracker.entries import PROMOTIONAL, Bookkeeper, account_name, node_name
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.parties import START_AT
from tests.tracker.test_settlement import CLIENT, NODE

BOOK = Bookkeeper("0" * 40, START_AT)
SETTLED = SettledJob(
    job="01900000-0000-7000-8000-000000000001",
    segment=0,
    node=NODE.peer_id,
    client=CLIENT.peer_id,
    jti="jti",
    task=Task.LLM,
    model="m",
    count=1,
    input_count=0,
    voucher=bytes(32),
)


@given(st.integers(1, 2**62))
def test_every_entry_adds_up_to_zero(amount: int) -> None:
    """Each kind of entry takes from one account what it gives to another."""
    entries = [
        BOOK.issue("a", amount),
        BOOK.reserve("a", "jti", amount),
        BOOK.settle(SETTLED, account_id="a", payee=node_name(NODE.peer_id), microcredits=amount),
        BOOK.give_back("a", "jti", amount),
        BOOK.link(NODE.peer_id, "a", amount),
    ]
    for new in entries:
        amounts = [transfer.microcredits for transfer in new.entry.transfers]
        assert sorted(amounts) == [-amount, amount]


def test_leaf_bytes_read_back() -> None:
    """The leaf holds the whole entry, and its hash is RFC 6962's."""
    new = BOOK.issue("a", 5, memo="hello")
    assert LedgerEntry.from_leaf(new.leaf) == new.entry
    assert new.leaf_hash == leaf_hash(new.leaf)


def test_equal_entries_have_different_hashes() -> None:
    """The blind keeps small facts from being guessed from the public log."""
    assert BOOK.issue("a", 5).leaf_hash != BOOK.issue("a", 5).leaf_hash


def test_owners() -> None:
    """A settlement may be read by payer, node and who earns; nobody owns the promotional sink."""
    linked = BOOK.settle(SETTLED, account_id="a", payee=account_name("b"), microcredits=1)
    assert linked.owners == {"account:a", "account:b", node_name(NODE.peer_id)}
    promotional = BOOK.settle(SETTLED, account_id="a", payee=PROMOTIONAL, microcredits=1)
    assert promotional.owners == {"account:a", node_name(NODE.peer_id)}


def test_what_costs_nothing_moves_nothing() -> None:
    """A free settlement has no transfers; nothing else may move zero or less."""
    assert BOOK.settle(SETTLED, account_id="a", payee="node:x", microcredits=0).entry.transfers == ()
    with pytest.raises(ValueError, match="positive"):
        BOOK.issue("a", 0)

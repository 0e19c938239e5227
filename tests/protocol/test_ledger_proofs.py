"""Checking a settled receipt without any network."""

from typing import Any

import pytest
from gpunode_protocol.errors import GpunodeError, VerificationFailed
from gpunode_protocol.ledger_entries import Transfer
from gpunode_protocol.ledger_proofs import ReceiptProof, verify_receipt_proof
from gpunode_protocol.signing import sign
from gpunode_protocol.tree_head import TreeHead
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.ledger_samples import PLACE, completed_chat, receipt_proof, settlement
from tests.protocol.samples import JOB, KID, NETWORK, NODE, NOW, OTHER_NETWORK, ROOT, STRANGER, TRACKER

CHAT = completed_chat()
PROOF = receipt_proof(CHAT)


def _refused(proof: ReceiptProof, root_public_key: bytes = ROOT.public_key) -> str:
    with pytest.raises(VerificationFailed) as caught:
        verify_receipt_proof(proof, root_public_key)
    return str(caught.value)


def test_true_proof() -> None:
    """Receipt, voucher, entry and head come back verified."""
    verified = verify_receipt_proof(PROOF, ROOT.public_key)
    assert (verified.receipt, verified.voucher) == (CHAT.receipt, CHAT.voucher)
    assert verified.entry == settlement(CHAT)
    assert verified.head.body.size == 7


def test_proof_as_json() -> None:
    """A proof survives being written to a file."""
    again = ReceiptProof.model_validate_json(PROOF.model_dump_json())
    assert again == PROOF
    assert verify_receipt_proof(again, ROOT.public_key)


def test_other_root_key() -> None:
    """Another pinned root key refuses the proof."""
    assert _refused(PROOF, STRANGER.public_key)


def _flip(proof: ReceiptProof, part: str, bit: int) -> ReceiptProof:
    """Return a proof with one bit changed in one of its byte strings."""
    name, _, inner = part.partition(".")
    value = getattr(proof, name)
    data = bytearray(value[int(inner)] if name == "path" else getattr(value, inner) if inner else value)
    position = bit % (8 * len(data))
    data[position // 8] ^= 1 << position % 8
    changed: Any = bytes(data)
    if name == "path":
        changed = tuple(changed if number == int(inner) else item for number, item in enumerate(value))
    elif inner:
        changed = value.model_copy(update={inner: changed})
    return proof.model_copy(update={name: changed})


PARTS = [
    *(f"{name}.{part}" for name in ("receipt", "voucher", "head", "keyset") for part in ("body", "signature")),
    "entry",
    *(f"path.{number}" for number in range(len(PROOF.path))),
]


@pytest.mark.parametrize("part", PARTS)
@given(bit=st.integers(0, 2**16))
def test_one_changed_bit(part: str, bit: int) -> None:
    """One changed bit anywhere fails, and always as VerificationFailed."""
    assert _refused(_flip(PROOF, part, bit))


def test_other_place() -> None:
    """The entry is at its index and no other."""
    for index in range(9):
        if index != PLACE:
            assert "not in the ledger" in _refused(PROOF.model_copy(update={"index": index}))


def test_entry_that_settles_nothing() -> None:
    """An entry that is no settlement proves nothing."""
    assert "another receipt" in _refused(receipt_proof(CHAT, settlement(CHAT, settled=None)))
    assert "no settlement" in _refused(receipt_proof(CHAT, settlement(CHAT, kind="issue")))


@pytest.mark.parametrize(
    "change",
    [
        {"receipt": b"\0" * 32},
        {"receipt": None},
        {"voucher": b"\0" * 32},
        {"count": 9},
        {"input_count": 0},
        {"job": JOB.replace("b", "c")},
        {"segment": 1},
        {"node": STRANGER.peer_id},
        {"client": STRANGER.peer_id},
        {"jti": "other"},
        {"model": "other"},
    ],
    ids=str,
)
def test_entry_that_settles_something_else(change: dict[str, Any]) -> None:
    """The entry has to settle this receipt and voucher, of this job, with their amounts."""
    entry = settlement(CHAT)
    assert entry.settled is not None
    other = entry.model_copy(update={"settled": entry.settled.model_copy(update=change)})
    assert "another" in _refused(receipt_proof(CHAT, other))


def test_entry_of_another_network() -> None:
    """The entry belongs to the receipt's network."""
    assert "another network" in _refused(receipt_proof(CHAT, settlement(CHAT, network=OTHER_NETWORK)))


def test_head_of_another_signer() -> None:
    """A head that the tracker did not sign, or of another network, proves nothing."""
    head = TreeHead.from_map({**verify_receipt_proof(PROOF, ROOT.public_key).head.body.to_map()})
    assert _refused(PROOF.model_copy(update={"head": sign(STRANGER, head).envelope}))
    other = head.model_copy(update={"network": OTHER_NETWORK})
    assert _refused(PROOF.model_copy(update={"head": sign(TRACKER, other).envelope}))


def test_other_tree() -> None:
    """A head of another tree does not hold the entry."""
    assert "not in the ledger" in _refused(receipt_proof(CHAT, root=b"\0" * 32))
    assert "not in the ledger" in _refused(receipt_proof(CHAT, size=99))


def test_unbalanced_entry() -> None:
    """An entry that makes credits out of nothing cannot be made."""
    with pytest.raises(ValueError, match="add up to zero"):
        settlement(CHAT, transfers=(Transfer(account=f"node:{NODE.peer_id}", microcredits=1),))


def test_receipt_without_its_voucher() -> None:
    """Another chat's voucher does not co-sign this receipt."""
    other = completed_chat(11)
    with pytest.raises(GpunodeError):
        verify_receipt_proof(PROOF.model_copy(update={"voucher": other.voucher.envelope}), ROOT.public_key)
    assert CHAT.receipt.body.network == NETWORK
    assert (verify_receipt_proof(PROOF, ROOT.public_key).head.body.kid, 1_800_000_000) == (KID, NOW)

"""A receipt that the ledger has settled, with everything that proves it."""

from typing import Any

from gpunode_protocol.client_job import Completed
from gpunode_protocol.ledger_entries import LedgerEntry, SettledJob, Transfer
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.merkle import hash_range, inclusion_proof, leaf_hash, tree_hash
from gpunode_protocol.signing import sign
from gpunode_protocol.tree_head import TreeHead

from tests.protocol.conversation import Conversation
from tests.protocol.samples import JTI, KID, NETWORK, NODE, NOW, ROOT, TRACKER, keyset_body

PAID_MICROCREDITS = 470
PLACE = 3  # of the settlement in the log
OTHER_LEAVES = tuple(leaf_hash(f"another entry {number}".encode()) for number in range(6))


def completed_chat(tokens: int = 10) -> Completed:
    """Return a chat of some tokens, co-signed."""
    talk = Conversation.about()
    talk.say(tokens)
    (completed,) = talk.finish()
    assert isinstance(completed, Completed)
    return completed


def settlement(completed: Completed, **changes: Any) -> LedgerEntry:
    """Return the entry that pays a completed job."""
    receipt, voucher = completed.receipt, completed.voucher
    body = voucher.body
    fields: dict[str, Any] = {
        "network": NETWORK,
        "id": "entry-0004",
        "kind": "settle",
        "at": NOW + 30,
        "transfers": (
            Transfer(account=f"reserved:{JTI}", microcredits=-PAID_MICROCREDITS),
            Transfer(account=f"node:{NODE.peer_id}", microcredits=PAID_MICROCREDITS),
        ),
        "settled": SettledJob(
            job=body.job,
            segment=body.segment,
            node=body.node,
            client=body.client,
            jti=body.jti,
            task=body.task,
            model=body.model,
            count=body.count,
            input_count=body.input_count,
            voucher=voucher.digest,
            receipt=receipt.digest,
        ),
        "blind": bytes(range(16)),
    }
    return LedgerEntry(**{**fields, **changes})


def receipt_proof(completed: Completed | None = None, entry: LedgerEntry | None = None, **head: Any) -> ReceiptProof:
    """Return the proof of a settled receipt, with another entry or head where asked for."""
    completed = completed or completed_chat()
    leaf = (entry or settlement(completed)).to_leaf()
    hashes = [*OTHER_LEAVES[:PLACE], leaf_hash(leaf), *OTHER_LEAVES[PLACE:]]
    fields = {"network": NETWORK, "log": "log-1", "epoch": 1, "issued_at": NOW + 60, "kid": KID}
    root = TreeHead(**{**fields, "size": len(hashes), "root": tree_hash(hashes), **head})
    return ReceiptProof(
        receipt=completed.receipt.envelope,
        voucher=completed.voucher.envelope,
        entry=leaf,
        index=PLACE,
        path=tuple(inclusion_proof(PLACE, len(hashes), hash_range(hashes))),
        head=sign(TRACKER, root).envelope,
        keyset=sign(ROOT, keyset_body()).envelope,
    )

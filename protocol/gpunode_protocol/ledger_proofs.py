"""Checking, without any network, that a receipt is genuine and that the ledger holds its settlement."""

from dataclasses import dataclass

from gpunode_protocol.errors import GpunodeError, VerificationFailed
from gpunode_protocol.ledger_entries import LedgerEntry
from gpunode_protocol.merkle import inclusion_is_valid, leaf_hash
from gpunode_protocol.receipt_checks import check_pair
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.signing import Envelope, Signed, WireModel
from gpunode_protocol.tree_head import TreeHead
from gpunode_protocol.trust import Trust
from gpunode_protocol.validation import Count, Digest
from gpunode_protocol.vouchers import Voucher


class Restoration(WireModel):
    """An entry by which the log went on after a restore, proven under the reply's head.

    entry: canonical bytes. index: its number, which is the size of the log that was restored. path: audit path.
    """

    entry: bytes
    index: Count
    path: tuple[Digest, ...]


class RestorationsReply(WireModel):
    """Every restore from a backup, oldest first: whoever kept a later head than the one named knows what was lost."""

    restorations: tuple[Restoration, ...]
    head: Envelope


class ReceiptProof(WireModel):
    """A receipt with all that is needed to check it: both signatures, the entry, its path, the head and the key set.

    entry: the ledger entry's canonical bytes. index: its place in the log. path: audit path, deepest sibling first.
    """

    receipt: Envelope
    voucher: Envelope
    entry: bytes
    index: Count
    path: tuple[Digest, ...]
    head: Envelope
    keyset: Envelope


@dataclass(frozen=True)
class VerifiedReceipt:
    """The parts of a proof that verified."""

    receipt: Signed[Receipt]
    voucher: Signed[Voucher]
    entry: LedgerEntry
    head: Signed[TreeHead]


def verify_receipt_proof(proof: ReceiptProof, root_public_key: bytes) -> VerifiedReceipt:
    """Check a proof against the pinned root key (32 bytes).

    Raises:
        VerificationFailed: naming what does not hold; one changed bit anywhere is enough.
    """
    try:
        trust = Trust.from_keyset(root_public_key, proof.keyset)
        head = trust.open_tree_head(proof.head)
        receipt, voucher = check_pair(proof.receipt, proof.voucher)
        entry = LedgerEntry.from_leaf(proof.entry)
    except VerificationFailed:
        raise
    except GpunodeError as error:
        raise VerificationFailed(f"The proof does not verify: {error}") from error
    _check_settlement(entry, receipt, voucher)
    if receipt.body.network != trust.network or entry.network != trust.network:
        raise VerificationFailed("The receipt belongs to another network.")
    if not inclusion_is_valid(proof.index, head.body.size, leaf_hash(proof.entry), proof.path, head.body.root):
        raise VerificationFailed("The entry is not in the ledger under this tree head.")
    return VerifiedReceipt(receipt, voucher, entry, head)


def _check_settlement(entry: LedgerEntry, receipt: Signed[Receipt], voucher: Signed[Voucher]) -> None:
    """Check that an entry settles this receipt and voucher, which fit together, and nothing else."""
    settled, promised = entry.settled, voucher.body
    if settled is None or settled.receipt != receipt.digest or settled.voucher != voucher.digest:
        raise VerificationFailed("The ledger entry settles another receipt.")
    if entry.kind != "settle":
        raise VerificationFailed("The ledger entry is no settlement.")
    if (settled.count, settled.input_count) != (promised.count, promised.input_count):
        raise VerificationFailed("The ledger entry settles another amount than the voucher promises.")
    for name in ("job", "segment", "node", "client", "jti", "task", "model"):
        if getattr(settled, name) != getattr(promised, name):
            raise VerificationFailed(f"The ledger entry names another {name} than the voucher.")

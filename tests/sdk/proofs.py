"""Receipts with proofs, as a tracker would make them."""

from gpunode_protocol.ledger_entries import LedgerEntry, SettledJob, Transfer
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.merkle import hash_range, inclusion_proof, leaf_hash, tree_hash
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tree_head import TreeHead
from gpunode_protocol.vouchers import Voucher

from tests.sdk.world import EPOCH, Keys

TREE_SIZE = 7
INDEX = 4


def entry_of(keys: Keys, receipt: Signed[Receipt], voucher: Signed[Voucher], *, paid: int = 190) -> LedgerEntry:
    """Return the ledger entry that settles a receipt."""
    body = voucher.body
    settled = SettledJob(
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
    )
    transfers = (
        Transfer(account=f"reserved:{body.jti}", microcredits=-paid),
        Transfer(account=f"node:{body.node}", microcredits=paid),
    )
    return LedgerEntry(
        network=keys.network,
        id="entry-1",
        kind="settle",
        at=EPOCH,
        transfers=transfers,
        settled=settled,
        blind=b"b" * 16,
    )


def proof_of(keys: Keys, receipt: Signed[Receipt], voucher: Signed[Voucher]) -> ReceiptProof:
    """Return the proof that leaf 4 of 7 settles a receipt."""
    leaf = entry_of(keys, receipt, voucher).to_leaf()
    leaves = [leaf_hash(leaf if number == INDEX else b"other %d" % number) for number in range(TREE_SIZE)]
    head = TreeHead(
        network=keys.network,
        log="log-1",
        epoch=1,
        size=TREE_SIZE,
        root=tree_hash(leaves),
        issued_at=EPOCH,
        kid=keys.kid,
    )
    return ReceiptProof(
        receipt=receipt.envelope,
        voucher=voucher.envelope,
        entry=leaf,
        index=INDEX,
        path=tuple(inclusion_proof(INDEX, TREE_SIZE, hash_range(leaves))),
        head=sign(keys.signer, head).envelope,
        keyset=keys.keyset.envelope,
    )

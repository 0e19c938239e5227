"""Vouchers, receipts and heads of the ledger for the tests."""

from gpunode_protocol.payloads import Usage
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tree_head import TreeHead
from gpunode_protocol.vouchers import Voucher

from tests.node.world import CLIENT, EPOCH, KID, NETWORK, NODE, TRACKER, job_id


def tree_head(size: int, root: bytes, *, issued_at: int = EPOCH, log: str = "log-1") -> Signed[TreeHead]:
    """Return a signed head of the ledger."""
    return sign(
        TRACKER,
        TreeHead(network=NETWORK, log=log, epoch=1, size=size, root=root, issued_at=issued_at, kid=KID),
    )


def voucher(
    number: int, count: int = 10, receipt: Signed[Receipt] | None = None, *, jti: str = "grant-1"
) -> Signed[Voucher]:
    """Return the client's voucher for a job; with a receipt the final one."""
    return sign(
        CLIENT,
        Voucher(
            network=NETWORK,
            job=job_id(number),
            segment=0,
            node=NODE.peer_id,
            client=CLIENT.peer_id,
            jti=jti,
            task=Task.LLM,
            model="fake",
            start=0,
            count=count,
            input_count=5 if receipt else 0,
            digest=bytes(32),
            final=receipt is not None,
            receipt=receipt.digest if receipt else None,
        ),
    )


def receipt(number: int, count: int = 10) -> Signed[Receipt]:
    """Return the node's receipt for a job."""
    return sign(
        NODE,
        Receipt(
            network=NETWORK,
            job=job_id(number),
            segment=0,
            node=NODE.peer_id,
            client=CLIENT.peer_id,
            jti="grant-1",
            task=Task.LLM,
            model="fake",
            fingerprint=bytes(32),
            request_digest=bytes(32),
            output_digest=bytes(32),
            parameters={},
            usage=Usage(input_tokens=5, output_tokens=count),
            start=0,
            ttft_ms=1,
            duration_ms=2,
            finish_reason="stop",
            finished_at=EPOCH,
        ),
    )

"""Settlements: the newest voucher of each (client, job, segment, node, grant), its receipt, and the contradictions."""

from dataclasses import dataclass
from typing import Any

from gpunode_protocol.receipts import Receipt
from gpunode_protocol.signing import Envelope, Signed, read_body
from gpunode_protocol.vouchers import Voucher
from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.settlement import OtherSegment, Settled
from gpunode_tracker.storage.tables import evidence, settlements

MAX_EVIDENCE_PER_SETTLEMENT = 8
"""Contradictions kept of one settlement: more prove nothing more."""


@dataclass(frozen=True)
class Claim:
    """A voucher whose signature verified, with the receipt that agrees with it, if one came."""

    voucher: Signed[Voucher]
    receipt: Signed[Receipt] | None


@dataclass(frozen=True)
class StoredSettlement:
    """A settlement with what is needed to prove it. entry_row: of its newest ledger entry."""

    id: int
    settled: Settled
    entry_row: int
    receipt: Envelope | None
    voucher: Envelope

    @property
    def claim(self) -> Claim:
        """What was settled."""
        receipt = Signed(read_body(Receipt, self.receipt), self.receipt) if self.receipt is not None else None
        return Claim(Signed(self.settled.voucher, self.voucher), receipt)


async def settlements_of_job(
    connection: AsyncConnection, voucher: Voucher
) -> tuple[StoredSettlement | None, list[OtherSegment]]:
    """Return the voucher's own settlement, and what else was settled of the same client and job."""
    query = select(settlements).where(settlements.c.client == voucher.client, settlements.c.job == voucher.job)
    own, others = None, []
    for row in await connection.execute(query):
        if (row.segment, row.node, row.jti) == (voucher.segment, voucher.node, voucher.jti):
            own = _stored(row)
        else:
            others.append(OtherSegment(row.id, row.segment, row.start, row._mapping["count"]))  # noqa: SLF001 -- SQLAlchemy's public name; plain .count is a tuple's method
    return own, others


async def settlement_of_receipt(connection: AsyncConnection, receipt_digest: bytes) -> StoredSettlement | None:
    """Return the settlement of a receipt that is held here."""
    held = (settlements.c.receipt_digest == receipt_digest, settlements.c.receipt_body.is_not(None))
    row = (await connection.execute(select(settlements).where(*held).limit(1))).first()
    return _stored(row) if row is not None else None


async def paid_to_node(connection: AsyncConnection, jti: str, node: str) -> int:
    """Return what a grant paid to a node, in micro-credits."""
    query = select(func.sum(settlements.c.paid)).where(settlements.c.jti == jti, settlements.c.node == node)
    return int((await connection.execute(query)).scalar_one() or 0)


async def save_settlement(
    connection: AsyncConnection, claim: Claim, *, paid: int, entry_row: int, earlier: StoredSettlement | None
) -> int:
    """Write the state after a payment; return its id. paid: micro-credits in all."""
    body = claim.voucher.body
    values = {
        "task": body.task,
        "model": body.model,
        "start": body.start,
        "count": body.count,
        "input_count": body.input_count,
        "final": body.final,
        "paid": paid,
        "entry_row": entry_row,
        "voucher_digest": claim.voucher.digest,
        "output_digest": body.digest,
        "voucher_body": claim.voucher.envelope.body,
        "voucher_signature": claim.voucher.envelope.signature,
        "receipt_digest": body.receipt,
        **_receipt_values(claim),
    }
    if earlier is not None:
        await connection.execute(update(settlements).where(settlements.c.id == earlier.id).values(**values))
        return earlier.id
    values |= {name: getattr(body, name) for name in ("client", "job", "segment", "node", "jti")}
    result = await connection.execute(insert(settlements).values(**values).returning(settlements.c.id))
    return int(result.scalar_one())


async def add_receipt(connection: AsyncConnection, settlement_id: int, claim: Claim) -> None:
    """Keep the receipt of a settlement whose final voucher came without it."""
    values = _receipt_values(claim)
    await connection.execute(update(settlements).where(settlements.c.id == settlement_id).values(**values))


async def add_evidence(
    connection: AsyncConnection, claim: Claim, *, settlement_id: int, reason: str, received_at: int
) -> None:
    """Keep a contradicting voucher, once, and at most 8 of one settlement."""
    receipt_digest = claim.receipt.digest if claim.receipt else b""
    key = (evidence.c.voucher_digest == claim.voucher.digest, evidence.c.receipt_digest == receipt_digest)
    known = (await connection.execute(select(evidence.c.reason).where(*key))).first()
    count = select(func.count()).select_from(evidence).where(evidence.c.settlement_id == settlement_id)
    if known or (await connection.execute(count)).scalar_one() >= MAX_EVIDENCE_PER_SETTLEMENT:
        return
    values = {
        "voucher_digest": claim.voucher.digest,
        "receipt_digest": receipt_digest,
        "settlement_id": settlement_id,
        "reason": reason,
        "voucher_body": claim.voucher.envelope.body,
        "voucher_signature": claim.voucher.envelope.signature,
        "received_at": received_at,
        **_receipt_values(claim),
    }
    await connection.execute(insert(evidence).values(**values))


def _receipt_values(claim: Claim) -> dict[str, bytes | None]:
    receipt = claim.receipt.envelope if claim.receipt is not None else None
    return {
        "receipt_body": receipt.body if receipt is not None else None,
        "receipt_signature": receipt.signature if receipt is not None else None,
    }


def _stored(row: Row[Any]) -> StoredSettlement:
    voucher = Envelope(body=row.voucher_body, signature=row.voucher_signature)
    receipt = Envelope(body=row.receipt_body, signature=row.receipt_signature) if row.receipt_body else None
    state = Settled(voucher=read_body(Voucher, voucher), voucher_digest=row.voucher_digest, paid=row.paid)
    return StoredSettlement(row.id, state, row.entry_row, receipt, voucher)

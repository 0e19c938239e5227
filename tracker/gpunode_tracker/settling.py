"""Settling batches of vouchers and receipts: check signatures, ask the rules, write ledger and settlement together."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Literal

from gpunode_protocol.errors import GpunodeError, VerificationFailed
from gpunode_protocol.ledger_entries import SettledJob
from gpunode_protocol.receipt_checks import check_pair, open_receipt, open_voucher
from gpunode_protocol.tracker_api import SettlementItem, SettlementResult
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker import Clock
from gpunode_tracker.entries import PROMOTIONAL, Bookkeeper, account_name, node_name
from gpunode_tracker.settlement import Duplicate, Equivocation, Pay, Rejected, decide, overlap_reason
from gpunode_tracker.settlement_books import SettlementBooks
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.accounts import Account
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.grants import StoredGrant
from gpunode_tracker.storage.nodes import StoredNode
from gpunode_tracker.storage.settlements import (
    Claim,
    StoredSettlement,
    add_evidence,
    add_receipt,
    save_settlement,
    settlements_of_job,
)

logger = logging.getLogger(__name__)

CHUNK_ITEMS = 50
"""Items of one transaction: others may write in between."""


class Settling:
    """Settles claims on one network's ledger."""

    def __init__(self, database: Database, network: str, clock: Clock) -> None:
        """network: the network id that vouchers must name."""
        self._database = database
        self._network = network
        self._clock = clock

    async def settle(self, items: Sequence[SettlementItem]) -> list[SettlementResult]:
        """Settle a batch; the answers are in the order of the items.

        Raises:
            StorageUnavailable: some chunks may be settled, others not; sending everything again is safe.
        """
        checked = await asyncio.to_thread(lambda: [check_item(item, self._network) for item in items])
        results: list[SettlementResult] = []
        for start in range(0, len(checked), CHUNK_ITEMS):
            chunk = checked[start : start + CHUNK_ITEMS]
            if not any(isinstance(claim, Claim) for claim in chunk):
                results += [claim for claim in chunk if isinstance(claim, SettlementResult)]
                continue
            async with self._database.write() as connection:
                books = SettlementBooks(connection)
                await books.lock(claim.voucher.body for claim in chunk if isinstance(claim, Claim))
                for claim in chunk:
                    if isinstance(claim, Claim):
                        results.append(await self._settle_claim(books, claim))
                    else:
                        results.append(claim)
        return results

    async def settle_within(self, connection: AsyncConnection, claim: Claim) -> SettlementResult:
        """Settle one claim as a part of a transaction; claim: of ``check_item``."""
        return await self._settle_claim(SettlementBooks(connection), claim)

    async def _settle_claim(self, books: SettlementBooks, claim: Claim) -> SettlementResult:
        connection, voucher = books.connection, claim.voucher.body
        grant = await books.grant(voucher.jti)
        if grant is None:
            return _rejected("this tracker issued no such grant")
        node = await books.node(voucher.node)
        if node is None:
            return _rejected("this node is not registered here")
        earlier, others = await settlements_of_job(connection, voucher)
        terms = await books.terms(grant, node)
        decision = decide(voucher, claim.voucher.digest, terms, earlier.settled if earlier else None, others)
        match decision:
            case Rejected(reason):
                return _rejected(reason)
            case Duplicate():
                return await self._note_duplicate(connection, claim, earlier)
            case Equivocation(reason):
                await self._note_contradiction(connection, claim, earlier, reason)
                return SettlementResult(status="equivocation", reason=reason)
            case Pay():
                return await self._pay(books, claim, decision, (grant, node, earlier))

    async def _pay(
        self,
        books: SettlementBooks,
        claim: Claim,
        pay: Pay,
        parties: tuple[StoredGrant, StoredNode, StoredSettlement | None],
    ) -> SettlementResult:
        connection, (grant, node, earlier) = books.connection, parties
        account = await books.account(grant.account_id)
        new = Bookkeeper(self._network, int(self._clock())).settle(
            settled_job(claim),
            account_id=account.id,
            payee=payee_of(account, node),
            microcredits=pay.microcredits,
            memo="" if pay.microcredits == pay.due else "the grant's reservation did not cover all",
        )
        books.note_payment(grant, node, pay.microcredits)
        if pay.contradiction and earlier is not None:
            await self._note_contradiction(connection, earlier.claim, earlier, pay.contradiction)
        row = await ledger.append(connection, new)
        paid = pay.microcredits + (earlier.settled.paid if earlier else 0)
        settlement_id = await save_settlement(connection, claim, paid=paid, entry_row=row, earlier=earlier)
        reason = pay.contradiction or new.entry.memo
        if pay.clash is not None:
            reason = overlap_reason(claim.voucher.body, pay.clash)
            await add_evidence(
                connection, claim, settlement_id=pay.clash.settlement, reason=reason, received_at=new.entry.at
            )
        logger.info(
            "Settled %d micro-credits",
            pay.microcredits,
            extra={"event": "settled", "job": claim.voucher.body.job, "settlement": settlement_id},
        )
        status: Literal["settled", "equivocation"] = "equivocation" if pay.contradiction else "settled"
        return SettlementResult(status=status, entry=new.entry.id, paid_microcredits=pay.microcredits, reason=reason)

    async def _note_contradiction(
        self, connection: AsyncConnection, claim: Claim, earlier: StoredSettlement | None, reason: str
    ) -> None:
        """Keep a claim of a settlement that contradicts another claim of it."""
        if earlier is None:
            raise LookupError("a contradiction of nothing")
        await add_evidence(connection, claim, settlement_id=earlier.id, reason=reason, received_at=int(self._clock()))
        voucher = claim.voucher.body
        logger.warning(
            "Equivocation: %s", reason, extra={"event": "equivocation", "job": voucher.job, "jti": voucher.jti}
        )

    async def _note_duplicate(
        self, connection: AsyncConnection, claim: Claim, earlier: StoredSettlement | None
    ) -> SettlementResult:
        """Answer what is settled already; a receipt that was missing is kept."""
        if earlier is None:
            raise LookupError("a duplicate of nothing")
        same = claim.voucher.digest == earlier.settled.voucher_digest
        if same and claim.receipt is not None and earlier.receipt is None:
            await add_receipt(connection, earlier.id, claim)
        return SettlementResult(status="duplicate", entry=await ledger.entry_id_at(connection, earlier.entry_row))


def check_item(item: SettlementItem, network: str) -> Claim | SettlementResult:
    """Check the signatures of an item, and that they are for this network and agree."""
    try:
        voucher = open_voucher(item.voucher)
        if voucher.body.network != network:
            raise VerificationFailed("The voucher belongs to another network.")
        if item.receipt is None:
            return Claim(voucher, None)
        if voucher.body.final:
            receipt, _ = check_pair(item.receipt, item.voucher)
            return Claim(voucher, receipt)
        open_receipt(item.receipt)  # a claim of the node alone: its voucher is what pays
    except GpunodeError as error:
        return _rejected(str(error))
    return Claim(voucher, None)


def settled_job(claim: Claim) -> SettledJob:
    """Return what the ledger entry says of the job."""
    voucher = claim.voucher.body
    return SettledJob(
        job=voucher.job,
        segment=voucher.segment,
        node=voucher.node,
        client=voucher.client,
        jti=voucher.jti,
        task=voucher.task,
        model=voucher.model,
        count=voucher.count,
        input_count=voucher.input_count,
        voucher=claim.voucher.digest,
        receipt=voucher.receipt,
    )


def payee_of(account: Account, node: StoredNode) -> str:
    """Return who earns: the node's account, the node itself, or nobody for promotional credits."""
    if account.promotional:
        return PROMOTIONAL
    return account_name(node.account_id) if node.account_id is not None else node_name(node.peer)


def _rejected(reason: str) -> SettlementResult:
    return SettlementResult(status="rejected", reason=reason[:300])

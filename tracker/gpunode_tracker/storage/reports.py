"""Complaints of clients about nodes."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpunode_protocol.tracker_api import ReportRequest
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import reports


@dataclass(frozen=True)
class ReportCount:
    """The reports on one node for one reason. accounts: how many made them. first_at, last_at: Unix seconds."""

    node: str
    kind: str
    reports: int
    accounts: int
    first_at: int
    last_at: int


async def add_report(connection: AsyncConnection, account_id: str, report: ReportRequest, *, received_at: int) -> None:
    """Keep a report."""
    values = report.model_dump()
    await connection.execute(insert(reports).values(account_id=account_id, received_at=received_at, **values))


async def count_reports(
    connection: AsyncConnection, *, node: str | None = None, since: int | None = None, limit: int
) -> Sequence[ReportCount]:
    """Return the reports by node and reason, those with the newest report first.

    Args:
        node: None = all. since: Unix seconds; None = all. limit: of the counts.
    """
    last_at = func.max(reports.c.received_at)
    query = select(
        reports.c.node,
        reports.c.kind,
        func.count(),
        func.count(reports.c.account_id.distinct()),
        func.min(reports.c.received_at),
        last_at,
    ).group_by(reports.c.node, reports.c.kind)
    if node is not None:
        query = query.where(reports.c.node == node)
    if since is not None:
        query = query.where(reports.c.received_at >= since)
    query = query.order_by(last_at.desc(), reports.c.node, reports.c.kind).limit(limit)
    return [ReportCount(*row) for row in await connection.execute(query)]


async def forget_reports(connection: AsyncConnection, *, before: int, limit: int) -> int:
    """Delete those of before an instant among the ``limit`` oldest; return how many there were.

    By number, which has an index and grows with time: looking every half minute costs nothing while none is old.
    """
    oldest = select(reports.c.id, reports.c.received_at).order_by(reports.c.id).limit(limit)
    ids = [row.id for row in await connection.execute(oldest) if row.received_at < before]
    if ids:
        await connection.execute(delete(reports).where(reports.c.id.in_(ids)))
    return len(ids)

"""Complaints of clients about nodes."""

from gpunode_protocol.tracker_api import ReportRequest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import reports


async def add_report(connection: AsyncConnection, account_id: str, report: ReportRequest, *, received_at: int) -> None:
    """Keep a report."""
    values = report.model_dump()
    await connection.execute(insert(reports).values(account_id=account_id, received_at=received_at, **values))

"""The audit log: entries are added in the transaction of what they tell of, and never changed until they are old."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpunode_protocol.secret_texts import without_secrets
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.audit import AuditRecord, detail_without_secrets
from gpunode_tracker.storage.tables import audit_log


@dataclass(frozen=True)
class AuditFilter:
    """Which entries are meant; None = all. since, until: Unix seconds, both included."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: int | None = None
    until: int | None = None


async def record(
    connection: AsyncConnection,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
    address: str = "",
    *,
    at: int,
) -> None:
    """Note what is done in this transaction.

    Args:
        actor: who does it, see ``audit.Actor``.
        action: one of ``audit.Action``.
        subject: what it is done to, such as ``account:<id>``.
        detail: flat; numbers, texts and lists of them. What looks like a secret is cut out of texts.
        address: where the request came from.
        at: Unix seconds.
    """
    values = {
        "at": at,
        "actor": actor,
        "address": address,
        "action": str(action),
        "subject": without_secrets(subject),
        "detail": detail_without_secrets(detail or {}),
    }
    await connection.execute(insert(audit_log).values(**values))


async def forget_records(connection: AsyncConnection, *, before: int, limit: int) -> int:
    """Delete the oldest entries, of before an instant and at most ``limit``; return how many there were."""
    old = select(audit_log.c.id).where(audit_log.c.at < before).order_by(audit_log.c.at).limit(limit)
    ids = (await connection.execute(old)).scalars().all()
    if ids:
        await connection.execute(delete(audit_log).where(audit_log.c.id.in_(ids)))
    return len(ids)


async def newest_records(
    connection: AsyncConnection, wanted: AuditFilter, *, before_id: int, limit: int
) -> list[AuditRecord]:
    """Return entries, newest first, older than number ``before_id``."""
    query = select(audit_log).where(audit_log.c.id < before_id)
    for column, value in (
        (audit_log.c.actor, wanted.actor),
        (audit_log.c.action, wanted.action),
        (audit_log.c.subject, wanted.subject),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(audit_log.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(audit_log.c.at <= wanted.until)
    rows = await connection.execute(query.order_by(audit_log.c.id.desc()).limit(limit))
    return [AuditRecord(row.id, row.at, row.actor, row.address, row.action, row.subject, row.detail) for row in rows]

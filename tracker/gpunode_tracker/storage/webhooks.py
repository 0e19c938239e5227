"""Webhooks in the database. A try is claimed by a conditional UPDATE, so that no two replicas send the same one."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import jobs, webhooks


@dataclass(frozen=True, kw_only=True)
class DueWebhook:
    """A webhook that is to be sent now, and what it tells. url, secret: sealed. tries: with this one.

    type, status, completed_at, error: of the job.
    """

    job_id: str
    account_id: str
    url: bytes
    secret: bytes
    tries: int
    type: str
    status: str
    completed_at: int
    error: str | None


async def add_webhook(connection: AsyncConnection, job_id: str, *, url: bytes, secret: bytes) -> None:
    """Keep a job's webhook, not yet due."""
    await connection.execute(insert(webhooks).values(job_id=job_id, url=url, secret=secret, tries=0))


async def find_secret(connection: AsyncConnection, job_id: str) -> bytes | None:
    """Return the sealed secret of a job's webhook; None: it has none."""
    secret: bytes | None = (
        await connection.execute(select(webhooks.c.secret).where(webhooks.c.job_id == job_id))
    ).scalar()
    return secret


async def make_due(connection: AsyncConnection, job_id: str, *, now: int) -> bool:
    """Make the webhook of an ended job due; False: it has none, or was due before."""
    waits = webhooks.c.job_id == job_id, webhooks.c.due_at.is_(None), webhooks.c.tries == 0
    return (await connection.execute(update(webhooks).where(*waits).values(due_at=now))).rowcount > 0


async def next_due_at(connection: AsyncConnection) -> int | None:
    """Return when the next one is due; None: none is."""
    found: int | None = (await connection.execute(select(func.min(webhooks.c.due_at)))).scalar()
    return found


async def claim_due(
    connection: AsyncConnection, *, now: int, hold_s: int, limit: int, per_account: int, busy: Mapping[str, int]
) -> list[DueWebhook]:
    """Take webhooks that are due, the oldest first; each counts as tried. More may be left though there is room.

    Args:
        now: Unix seconds.
        hold_s: seconds after which one is due again if nobody said what came of it: whoever sent it has died.
        limit: how many at most.
        per_account: how many of one account at most, together with those in ``busy``.
        busy: how many of each account are being sent.
    """
    full = [account for account, count in busy.items() if count >= per_account]
    taken = Counter(busy)
    claimed = []
    for row in (await connection.execute(due_query(now=now, limit=limit, except_accounts=full))).all():
        if taken[row.account_id] >= per_account:
            continue
        seen = webhooks.c.job_id == row.job_id, webhooks.c.due_at == row.due_at, webhooks.c.tries == row.tries
        values = {"tries": row.tries + 1, "due_at": now + hold_s}
        if (await connection.execute(update(webhooks).where(*seen).values(**values))).rowcount > 0:
            taken[row.account_id] += 1
            claimed.append(_claimed_webhook(row))
    return claimed


def due_query(*, now: int, limit: int, except_accounts: Collection[str]) -> Select[Any]:
    """Return the query for what is due; it walks along the index of ``due_at``."""
    job = jobs.c.account_id, jobs.c.type, jobs.c.status, jobs.c.completed_at, jobs.c.error
    query = (
        select(webhooks.c.job_id, webhooks.c.url, webhooks.c.secret, webhooks.c.tries, webhooks.c.due_at, *job)
        .join(jobs, jobs.c.id == webhooks.c.job_id)
        .where(webhooks.c.due_at <= now, jobs.c.completed_at.is_not(None))
    )
    if except_accounts:
        query = query.where(jobs.c.account_id.not_in(except_accounts))
    return query.order_by(webhooks.c.due_at).limit(limit).with_for_update(skip_locked=True, of=webhooks)


async def note_delivered(connection: AsyncConnection, job_id: str, tries: int, *, now: int) -> None:
    """Note that try number ``tries`` arrived: it is over."""
    values = {"due_at": None, "delivered_at": now, "problem": None}
    await connection.execute(update(webhooks).where(*_try(job_id, tries)).values(**values))


async def note_failed(
    connection: AsyncConnection, job_id: str, tries: int, problem: str, *, next_at: int | None
) -> None:
    """Note why try number ``tries`` did not arrive. next_at: when to try again; None = given up."""
    values = {"due_at": next_at, "problem": problem}
    await connection.execute(update(webhooks).where(*_try(job_id, tries)).values(**values))


def _try(job_id: str, tries: int) -> tuple[ColumnElement[bool], ...]:
    return webhooks.c.job_id == job_id, webhooks.c.tries == tries, webhooks.c.delivered_at.is_(None)


def _claimed_webhook(row: Row[Any]) -> DueWebhook:
    columns = {name: getattr(row, name) for name in DueWebhook.__dataclass_fields__}
    return DueWebhook(**columns | {"tries": row.tries + 1})

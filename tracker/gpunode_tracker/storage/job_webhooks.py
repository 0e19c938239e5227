"""Who wants to be told of a job's end: kept with the job, due from its end on. Sending is another's matter."""

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import webhooks


async def add_webhook(connection: AsyncConnection, job_id: str, *, url: bytes, secret: bytes) -> None:
    """Keep where to tell of a job's end, and with what to sign; both sealed."""
    values = {"job_id": job_id, "url": url, "secret": secret, "tries": 0}
    await connection.execute(insert(webhooks).values(**values))


async def make_webhook_due(connection: AsyncConnection, job_id: str, *, now: int) -> None:
    """Note that a job has ended, so that its webhook, if it has one, is to be sent."""
    waits = webhooks.c.job_id == job_id, webhooks.c.due_at.is_(None), webhooks.c.delivered_at.is_(None)
    await connection.execute(update(webhooks).where(*waits).values(due_at=now))

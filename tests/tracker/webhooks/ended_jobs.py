"""Jobs that have ended, with webhooks that are due."""

from typing import Any

from gpunode_tracker import webhooks
from gpunode_tracker.administration import Administration
from gpunode_tracker.jobs.job import JobStatus, StoredJob
from gpunode_tracker.storage.jobs import add_job
from gpunode_tracker.storage.tables import webhooks as table
from gpunode_tracker.tracker import Tracker
from sqlalchemy import select

from tests.tracker.parties import job_id
from tests.tracker.webhooks.receiver import URL


async def new_account(tracker: Tracker) -> str:
    """Return the id of a new account."""
    admin = Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock)
    return (await admin.create_account("test", credits_given=0)).id


async def submit(tracker: Tracker, number: int, account_id: str, *, url: str = URL, **changes: Any) -> str:
    """Keep a job that has ended, with a webhook that waits; return the secret."""
    columns = {
        "id": job_id(number),
        "type": "llm",
        "status": JobStatus.COMPLETED,
        "priority": 0,
        "region": None,
        "model": None,
        "lane": "llm/*/*",
        "rank": 0,
        "params": b"",
        "created_at": tracker.now,
        "completed_at": tracker.now,
        "account_id": account_id,
        "client_id": "key",
        "client_address": "192.0.2.1",
    }
    async with tracker.database.write() as connection:
        await add_job(connection, StoredJob(**columns | changes))
        return await webhooks.add(connection, tracker.sealer, job_id(number), webhooks.check_url(url))


async def make_due(tracker: Tracker, number: int) -> bool:
    """Have the job's webhook sent."""
    async with tracker.database.write() as connection:
        return await webhooks.due(connection, job_id(number), tracker.now)


async def row_of(tracker: Tracker, number: int) -> dict[str, Any]:
    """Return what the table has of a job's webhook."""
    async with tracker.database.read() as connection:
        row = (await connection.execute(select(table).where(table.c.job_id == job_id(number)))).one()
        return dict(row._mapping)

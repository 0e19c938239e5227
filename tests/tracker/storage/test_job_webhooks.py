"""Webhooks wait with their jobs until these end."""

from gpunode_tracker.storage.job_webhooks import add_webhook, make_webhook_due
from gpunode_tracker.storage.tables import webhooks
from gpunode_tracker.tracker import Tracker
from sqlalchemy import select, update

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import Queue


async def due_at(tracker: Tracker, job_id: str) -> int | None:
    """Return when a job's webhook is due."""
    async with tracker.database.read() as connection:
        due: int | None = (
            await connection.execute(select(webhooks.c.due_at).where(webhooks.c.job_id == job_id))
        ).scalar_one()
    return due


async def test_due_once(world: World) -> None:
    """From the job's end on; what is due keeps its time, what was delivered is not due again."""
    account, _ = await world.account()
    job = (await Queue(world.tracker).submit(account)).id
    async with world.tracker.database.write() as connection:
        await add_webhook(connection, job, url=b"u", secret=b"s")
    assert await due_at(world.tracker, job) is None
    for now in (100, 200):
        async with world.tracker.database.write() as connection:
            await make_webhook_due(connection, job, now=now)
            await make_webhook_due(connection, "other", now=now)
        assert await due_at(world.tracker, job) == 100
    async with world.tracker.database.write() as connection:
        await connection.execute(update(webhooks).values(due_at=None, delivered_at=300))
        await make_webhook_due(connection, job, now=400)
    assert await due_at(world.tracker, job) is None

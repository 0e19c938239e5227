"""Where jobs are."""

import pytest
from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.storage.job_states import PAGE_JOBS, JobState, states_of
from gpunode_tracker.storage.tables import jobs
from sqlalchemy import update

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.jobs.queue_parties import Queue

pytestmark = ON_BOTH


async def _state(world: World, job_id: str) -> JobState:
    async with world.tracker.database.read() as connection:
        return (await states_of(connection, [job_id]))[job_id]


async def test_from_queue_to_end(world: World) -> None:
    """Each step, with who does it."""
    account, _ = await world.account()
    queue = Queue(world.tracker)
    job = await queue.submit(account)
    assert await _state(world, job.id) == JobState(JobStatus.QUEUED, 0, None)
    _, lease = await queue.claim("worker:w")
    assert await _state(world, job.id) == JobState(JobStatus.RUNNING, 1, "worker:w")
    await world.tracker.desk.fail(lease, "no")
    assert await _state(world, job.id) == JobState(JobStatus.QUEUED, 1, "worker:w")


@pytest.mark.parametrize(("node", "served_by"), [(None, None), ("12D3KooWx", "node:12D3KooWx")])
async def test_dispatched_jobs(world: World, node: str | None, served_by: str | None) -> None:
    """The node does it, not the tracker that sent it there."""
    account, _ = await world.account()
    queue = Queue(world.tracker)
    job = await queue.submit(account)
    await queue.claim("dispatch:replica")
    async with world.tracker.database.write() as connection:
        await connection.execute(update(jobs).values(node=node))
    assert await _state(world, job.id) == JobState(JobStatus.RUNNING, 1, served_by)


async def test_many_at_once(world: World) -> None:
    """More than one statement takes; those that there are not are left out."""
    account, _ = await world.account()
    job = await Queue(world.tracker).submit(account)
    names = [f"job-{number}" for number in range(2 * PAGE_JOBS)]
    async with world.tracker.database.read() as connection:
        assert list(await states_of(connection, [*names, job.id])) == [job.id]
        assert await states_of(connection, []) == {}

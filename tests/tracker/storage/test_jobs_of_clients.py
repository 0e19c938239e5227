"""Reading jobs without what is large in them, and those that wait too long."""

from dataclasses import replace

import pytest
from gpunode_tracker.jobs.job import JobStatus, StoredJob
from gpunode_tracker.storage.jobs import (
    fail_queued,
    find_job_state,
    find_job_without_params,
    jobs_ahead,
    jobs_of_account,
    recent_processing_ms,
    stale_jobs,
    stale_jobs_query,
)
from gpunode_tracker.tracker import Tracker
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from tests.tracker.conftest import World
from tests.tracker.databases import ON_SQLITE
from tests.tracker.jobs.queue_parties import ANSWER, Queue
from tests.tracker.parties import TestClock


@pytest.fixture
def queue(tracker: Tracker) -> Queue:
    """The queue."""
    return Queue(tracker)


@pytest.fixture
async def account(world: World) -> str:
    """An account with 100 credits."""
    account, _ = await world.account()
    return account


async def completed(queue: Queue, account: str, processing_ms: int = 5) -> StoredJob:
    """Return a completed job, whole."""
    await queue.submit(account, priority=9)
    job, lease = await queue.claim()
    await queue.tracker.desk.complete(lease, ANSWER, processing_ms=processing_ms)
    return await queue.job(job.id)


async def test_what_is_large_is_left_out(queue: Queue, account: str) -> None:
    """Parameters may have megabytes, results too."""
    job = await completed(queue, account)
    async with queue.tracker.database.read() as connection:
        assert await find_job_without_params(connection, job.id) == replace(job, params=b"")
        assert await find_job_state(connection, job.id) == replace(job, params=b"", result=None)
        assert await jobs_of_account(connection, account, limit=5) == [replace(job, params=b"", result=None)]
        for find in (find_job_without_params, find_job_state):
            assert await find(connection, job.id, account_id="other") is None


async def test_only_what_waits_is_given_up(queue: Queue, account: str) -> None:
    """Once."""
    job, done = await queue.submit(account), await completed(queue, account)
    async with queue.tracker.database.write() as connection:
        failed = await fail_queued(connection, job.id, "too old", now=7)
        assert failed is not None
        assert (failed.status, failed.error, failed.completed_at) == (JobStatus.FAILED, "too old", 7)
        assert await fail_queued(connection, job.id, "again", now=8) is None
        assert await fail_queued(connection, done.id, "too old", now=7) is None


async def test_stale_jobs(queue: Queue, account: str, clock: TestClock) -> None:
    """Whatever their priority."""
    first = [await queue.submit(account, priority=priority) for priority in (0, 9)]
    clock.advance(10)
    await queue.submit(account)
    async with queue.tracker.database.read() as connection:
        found = await stale_jobs(connection, created_before=queue.tracker.now, limit=10)
        assert set(found) == {job.id for job in first}
        assert await stale_jobs(connection, created_before=queue.tracker.now - 10, limit=10) == []


@ON_SQLITE
async def test_stale_jobs_are_found_by_the_queues_index(queue: Queue, account: str) -> None:
    """The whole table is not walked over."""
    await queue.submit(account)
    query = stale_jobs_query(created_before=1, limit=1)
    sql = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    async with queue.tracker.database.read() as connection:
        plan = [row.detail for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]
    steps = [step for step in plan if "jobs" in step]
    assert steps
    assert [step for step in steps if "ix_jobs_lane_rank" not in step] == []


async def test_jobs_ahead_are_counted_up_to_a_limit(queue: Queue, account: str, clock: TestClock) -> None:
    """By rank, then id; of the lanes that are named."""
    jobs = []
    for number in range(6):
        jobs.append(await queue.submit(account, region="asia" if number % 2 else None))
        clock.advance(1)
    async with queue.tracker.database.read() as connection:
        assert await jobs_ahead(connection, jobs[5], ["llm/*/*"], limit=10) == 3
        assert await jobs_ahead(connection, jobs[5], ["llm/*/*", "llm/asia/*"], limit=10) == 5
        assert await jobs_ahead(connection, jobs[5], ["llm/*/*", "llm/asia/*"], limit=2) == 4
        assert await jobs_ahead(connection, jobs[0], ["llm/*/*"], limit=10) == 0


async def test_what_jobs_took_lately(queue: Queue, account: str) -> None:
    """The mean of each type; cancelled ones took nothing."""
    await completed(queue, account, 100)
    await completed(queue, account, 200)
    await queue.tracker.desk.cancel(await queue.submit(account))
    async with queue.tracker.database.read() as connection:
        assert await recent_processing_ms(connection) == {"llm": 150.0}

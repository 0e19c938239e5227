"""What becomes of jobs that nobody takes, and of those that ended long ago."""

import pytest
from gpunode_tracker.entries import account_name
from gpunode_tracker.jobs import retention
from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.jobs.retention import MAX_WAIT_S, WAITED_TOO_LONG, delete_old, fail_stale
from gpunode_tracker.storage.idempotency import UsedKey, find_used_key, remember_key
from gpunode_tracker.storage.jobs import find_job
from gpunode_tracker.storage.tables import job_attempts, jobs
from gpunode_tracker.upkeep import Upkeep
from sqlalchemy import func, select

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import ANSWER, COST, Queue
from tests.tracker.parties import TestClock

GIVEN = 100_000_000


@pytest.fixture
async def account(world: World) -> str:
    """An account with 100 credits."""
    account, _ = await world.account()
    return account


async def count(queue: Queue) -> int:
    """Return how many jobs there are."""
    async with queue.tracker.database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(jobs))).scalar_one())


async def test_who_waits_too_long_has_failed(
    queue: Queue, account: str, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its reason, and its credits go back; what runs and what is younger stays."""
    monkeypatch.setattr(retention, "BATCH_JOBS", 2)
    old = [await queue.submit(account, priority=number) for number in range(5)]
    running, _ = await queue.claim()
    clock.advance(MAX_WAIT_S)
    young = await queue.submit(account, priority=9)
    clock.advance(1)
    assert await fail_stale(queue.tracker) == 4
    found = [await queue.job(job.id) for job in old if job.id != running.id]
    assert {(job.status, job.error) for job in found} == {(JobStatus.FAILED, WAITED_TOO_LONG)}
    assert (await queue.job(running.id)).status is JobStatus.RUNNING
    assert (await queue.job(young.id)).status is JobStatus.QUEUED
    assert await queue.balance(account_name(account)) == GIVEN - 2 * COST
    assert await queue.ledger_sum() == 0


async def test_ended_jobs_are_deleted_after_their_time(
    queue: Queue, account: str, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches, with everything that belongs to them; what has not ended stays."""
    monkeypatch.setattr(retention, "BATCH_JOBS", 2)
    waiting = await queue.submit(account)
    for _ in range(5):
        await queue.submit(account, priority=9)
        _, lease = await queue.claim()
        await queue.tracker.desk.complete(lease, ANSWER, processing_ms=1)
    clock.advance(queue.tracker.settings.job_retention_s)
    assert await delete_old(queue.tracker) == 0
    clock.advance(1)
    assert await delete_old(queue.tracker) == 5
    async with queue.tracker.database.read() as connection:
        assert await find_job(connection, waiting.id) == waiting
        assert (await connection.execute(select(job_attempts))).all() == []


async def test_old_keys_are_forgotten(
    queue: Queue, account: str, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the last day stay."""
    monkeypatch.setattr(retention, "BATCH_KEYS", 2)
    job = (await queue.submit(account)).id
    for number in range(5):
        async with queue.tracker.database.write() as connection:
            await remember_key(connection, account, f"k{number}", UsedKey(job, b""), now=queue.tracker.now)
        clock.advance(1)
    clock.advance(retention.IDEMPOTENCY_S - 1)
    await delete_old(queue.tracker)
    async with queue.tracker.database.read() as connection:
        left = [await find_used_key(connection, account, f"k{number}", created_after=0) for number in range(5)]
    assert [key is not None for key in left] == [False] * 4 + [True]


async def test_upkeep_does_both(queue: Queue, account: str, clock: TestClock) -> None:
    """Among the other things that it tidies."""
    await queue.submit(account)
    clock.advance(MAX_WAIT_S + 1)
    await Upkeep(queue.tracker)._tidy()
    clock.advance(queue.tracker.settings.job_retention_s + 1)
    await Upkeep(queue.tracker)._tidy()
    assert await count(queue) == 0
    assert await queue.balance(account_name(account)) == GIVEN

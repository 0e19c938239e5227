"""How jobs end without a result, and how they are forgotten: the same on every database."""

from collections.abc import Awaitable, Callable

import pytest
from gpunode_tracker.jobs.job import JobStatus, Lease, worker_holder
from gpunode_tracker.storage import jobs
from gpunode_tracker.storage.attempts import attempt_of
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.tables import idempotency_keys, job_attempts, webhooks
from sqlalchemy import Table, func, insert, select

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT, job_id
from tests.tracker.storage.queued_jobs import Queue, queued_job

pytestmark = ON_BOTH


async def _nothing(_queue: Queue) -> None:
    """The job waits."""


async def _take(queue: Queue) -> None:
    await queue.take()


async def _retry(queue: Queue) -> None:
    await queue.fail(await queue.lease())


async def _complete(queue: Queue) -> None:
    await queue.complete(await queue.lease())


async def _fail(queue: Queue) -> None:
    await queue.fail(await queue.lease(), retryable=False)


async def _cancel(queue: Queue) -> None:
    await queue.cancel(1)


@pytest.mark.parametrize("before", [_nothing, _take, _retry])
async def test_an_open_job_is_cancelled(queue: Queue, before: Callable[[Queue], Awaitable[None]]) -> None:
    """Whoever holds it learns that at its next word, and nobody gets it any more."""
    await queue.add(queued_job(1))
    await before(queue)
    cancelled = await queue.cancel(1)
    assert cancelled is not None
    assert (cancelled.status, cancelled.completed_at) == (JobStatus.CANCELLED, queue.now)
    held = Lease(job_id=job_id(1), holder=worker_holder("w1"), attempt=1)
    assert await queue.complete(held) is None
    assert not await queue.renew(held)
    assert await queue.expired() == []
    assert await queue.take_all() == []
    assert (await queue.find(1)).status is JobStatus.CANCELLED


@pytest.mark.parametrize("before", [_complete, _fail, _cancel])
async def test_an_ended_job_is_not_cancelled(queue: Queue, before: Callable[[Queue], Awaitable[None]]) -> None:
    """It stays as it ended. Nor is one cancelled that does not exist."""
    await queue.add(queued_job(1))
    await before(queue)
    ended = await queue.find(1)
    queue.now += 1
    assert await queue.cancel(1) is None
    assert await queue.find(1) == ended
    assert await queue.cancel(2) is None


async def test_a_cancellation_leaves_ended_attempts_as_they_ended(queue: Queue) -> None:
    """What a job that waits again failed of before stays known, to its owner and to whoever made the attempt."""
    await queue.add(queued_job(1))
    await _retry(queue)
    holder = worker_holder("w1")
    async with queue.database.read() as connection:
        before = await attempt_of(connection, job_id(1), holder)
    queue.now += 1
    await queue.cancel(1)
    async with queue.database.read() as connection:
        assert await attempt_of(connection, job_id(1), holder) == before
    assert await queue.failures(1) == ["broken"]


async def _count(database: Database, table: Table) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def test_old_jobs_are_forgotten_with_all_that_hangs_on_them(queue: Queue) -> None:
    """Attempts, webhook and idempotency key; jobs that have not ended stay, however old they are."""
    await queue.add(*(queued_job(number) for number in range(1, 5)))
    async with queue.database.write() as connection:
        for number in (1, 4):
            values = {"job_id": job_id(number), "account_id": "a", "key": str(number), "created_at": START_AT}
            await connection.execute(insert(idempotency_keys).values(**values, body_digest=b"d"))
            hook = {"job_id": job_id(number), "url": b"u", "secret": b"s", "tries": 0}
            await connection.execute(insert(webhooks).values(**hook))
    for _ in range(2):
        await queue.complete(await queue.lease())
        queue.now += 100
    await queue.lease()
    async with queue.database.write() as connection:
        old = await jobs.jobs_to_delete(connection, completed_before=queue.now - 150, limit=10)
        assert old == [job_id(1)]
        await jobs.delete_jobs(connection, old)
    async with queue.database.read() as connection:
        assert await jobs.find_job(connection, job_id(1)) is None
        assert await jobs.jobs_to_delete(connection, completed_before=queue.now, limit=10) == [job_id(2)]
    assert [await _count(queue.database, table) for table in (job_attempts, webhooks, idempotency_keys)] == [2, 1, 1]
    assert await queue.take_all() == [4]

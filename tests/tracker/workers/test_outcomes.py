"""How attempts end."""

import pytest
from gpunode_protocol.identity import Identity
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs.job import JobStatus, Lease, dispatch_holder, worker_holder
from gpunode_tracker.storage.attempts import failures_of
from gpunode_tracker.storage.jobs import claim_job
from gpunode_tracker.storage.nodes import set_account
from gpunode_tracker.storage.workers import find_worker
from gpunode_tracker.workers.outcomes import DISPATCH_SILENT, WORKER_SILENT, shown_text
from gpunode_tracker.workers.statistics import Statistics

from tests.tracker.conftest import World
from tests.tracker.parties import START_AT, TestClock
from tests.tracker.pull_workers import ANSWER, pull_worker, stored_job, submit


async def _statistics(world: World, worker_id: str) -> Statistics:
    async with world.tracker.database.read() as connection:
        worker = await find_worker(connection, worker_id)
    assert worker is not None
    return worker.statistics


async def _failures(world: World, job_id: str) -> list[str]:
    async with world.tracker.database.read() as connection:
        return await failures_of(connection, job_id)


async def test_silent_workers(world: World, clock: TestClock) -> None:
    """Their jobs wait again, with the reason; it counts against them, and they are off until they are heard."""
    owner, silent, heard = (await world.account())[0], await pull_worker(world), await pull_worker(world)
    for _ in range(2):
        await submit(world, owner)
    jobs = [(await worker.next_job()).job_id or "" for worker in (silent, heard)]
    clock.advance(40)
    await heard.heartbeat()
    clock.advance(20)
    assert await world.tracker.workers.outcomes.expire_leases() == 1
    assert [(await stored_job(world, job)).status for job in jobs] == [JobStatus.QUEUED, JobStatus.RUNNING]
    assert await _failures(world, jobs[0]) == [WORKER_SILENT.format(lease_s=60)]
    assert await _statistics(world, silent.id) == Statistics().after_failure()
    assert world.tracker.workers.presence.status_of(silent.id) == "offline"
    await silent.heartbeat()
    assert world.tracker.workers.presence.status_of(silent.id) == "online"


async def test_a_silent_dispatcher(world: World, clock: TestClock) -> None:
    """Another tracker process that sent a job to the mesh and vanished, likewise."""
    job = await submit(world, (await world.account())[0])
    async with world.tracker.database.write() as connection:
        taken = await claim_job(connection, dispatch_holder("r"), ["llm/*/*"], now=START_AT, lease_s=60)
    assert taken is not None
    clock.advance(60)
    assert await world.tracker.workers.outcomes.expire_leases() == 1
    assert await _failures(world, job) == [DISPATCH_SILENT.format(lease_s=60)]


async def test_many_silent_workers(world: World, clock: TestClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches, until none is left."""
    monkeypatch.setattr("gpunode_tracker.workers.outcomes.EXPIRED_BATCH", 2)
    owner, worker = (await world.account())[0], await pull_worker(world)
    for _ in range(4):
        await submit(world, owner)
        await worker.next_job()
    clock.advance(60)
    assert await world.tracker.workers.outcomes.expire_leases() == 4
    assert await world.tracker.workers.outcomes.expire_leases() == 0
    assert (await _statistics(world, worker.id)).total_jobs == 4


async def test_all_or_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the end of a job cannot be written, the worker's statistics are not, nor what is known of it."""
    owner, worker = (await world.account())[0], await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()

    async def fail(*_: object, **__: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as broken:
        broken.setattr("gpunode_tracker.workers.outcomes.workers.save_statistics", fail)
        assert (await worker.try_to_complete(job)).status == 503
    assert (await stored_job(world, job)).status is JobStatus.RUNNING
    live = world.tracker.workers.presence.find(worker.id)
    assert live is not None
    assert (list(live.holding), live.stored.statistics) == ([job], Statistics())
    assert (await worker.complete(job)).status == "completed"
    assert (await _statistics(world, worker.id)).total_jobs == 1


async def test_a_lease_that_another_tracker_gave(world: World, clock: TestClock) -> None:
    """The time is then told from the database, in whole seconds."""
    owner, worker = (await world.account())[0], await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    world.tracker.workers.presence.forget(worker.id)
    clock.advance(3)
    lease = Lease(job_id=job, holder=worker_holder(worker.id), attempt=1)
    ended = await world.tracker.workers.outcomes.complete(lease, ANSWER, started_at=START_AT)
    assert ended is not None
    assert (await _statistics(world, worker.id)).avg_latency_ms == 3_000


@pytest.mark.parametrize("claimed_s", [0, 100_000])
async def test_how_long_a_job_took_is_measured_here(world: World, clock: TestClock, claimed_s: float) -> None:
    """Estimates of waits go by it, so no worker's word counts."""
    owner, worker = (await world.account())[0], await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    clock.advance(7)
    await worker.complete(job, success=True, result=ANSWER, processing_time=claimed_s)
    assert (await stored_job(world, job)).processing_ms == 7_000


async def test_jobs_of_the_workers_own_account_count_in_no_statistic(world: World) -> None:
    """They cost nothing, so anybody could have as many as they like; others' jobs count."""
    identity, (owner, _), (other, _) = Identity.generate(), await world.account(), await world.account()
    worker = await pull_worker(world, identity=identity)
    async with world.tracker.database.write() as connection:
        await set_account(connection, identity.peer_id, owner)
    for account, failures in ((owner, 0), (other, 1)):
        job = await submit(world, account)
        assert (await worker.next_job()).job_id == job
        await worker.complete(job, success=False, error="no", retryable=False)
        assert (await _statistics(world, worker.id)).total_jobs == failures


def test_reasons_are_plain_text() -> None:
    """No control characters, and no more than can be kept."""
    assert shown_text("a\x1b[31m\nb\u202e") == "a [31m b "
    assert len(shown_text("x" * 9_999)) == 2_000

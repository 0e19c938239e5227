"""What goes to the database and comes from there."""

from collections.abc import AsyncIterator

import pytest
from gpunode_protocol import jobs_api
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.storage.workers import add_worker, find_worker
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers import live_sync
from gpunode_tracker.workers.presence import SILENT_S, WRITE_INTERVAL_S
from gpunode_tracker.workers.worker import StoredWorker, WorkerStatus

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import PullWorker, pull_worker, submit
from tests.tracker.workers.examples import stored_worker, worker_id


@pytest.fixture
async def replica(world: World, clock: TestClock) -> AsyncIterator[Tracker]:
    """Another tracker on the same database."""
    other = await Tracker.open(world.tracker.settings, clock, clock)
    yield other
    await other.close()


async def _row(tracker: Tracker, worker: PullWorker) -> StoredWorker:
    async with tracker.database.read() as connection:
        found = await find_worker(connection, worker.id)
    assert found is not None
    return found


async def test_heartbeats_are_written_in_batches(world: World, clock: TestClock) -> None:
    """Not one by one; the last one of many, and the status that follows from silence too."""
    sync, worker = world.tracker.workers.sync, await pull_worker(world)
    for status in ("online", "busy"):
        await worker.heartbeat(status, gpu_info={"memory_used": 1.5, "memory_total": 12})
        clock.advance(1)
    assert (await _row(world.tracker, worker)).last_heartbeat is None
    assert await sync.flush() == 1
    row = await _row(world.tracker, worker)
    assert (row.status, row.last_heartbeat, row.memory_used_gb) == (WorkerStatus.BUSY, int(clock()) - 1, 1.5)
    assert await sync.flush() == 0
    clock.advance(SILENT_S)
    assert await sync.flush() == 1
    assert (await _row(world.tracker, worker)).status is WorkerStatus.OFFLINE
    assert world.tracker.workers.presence.find(worker.id) is None
    assert len(world.tracker.workers.tokens) == 0
    await worker.heartbeat()


async def test_a_database_that_is_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost: it is written with the next try."""
    sync, worker = world.tracker.workers.sync, await pull_worker(world)
    await worker.heartbeat()

    async def fail(*_: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as broken:
        broken.setattr("gpunode_tracker.workers.live_sync.workers.write_signs_of_life", fail)
        with pytest.raises(StorageUnavailable):
            await sync.flush()
    assert await sync.flush() == 1
    assert (await _row(world.tracker, worker)).status is WorkerStatus.ONLINE


@ON_BOTH
async def test_a_replica_knows_who_is_heard_elsewhere(world: World, replica: Tracker, clock: TestClock) -> None:
    """With their jobs and statistics; and when they are off."""
    owner, worker = (await world.account())[0], await pull_worker(world, models=["m"])
    job = await submit(world, owner)
    await worker.next_job()
    await worker.heartbeat()
    await world.tracker.workers.sync.flush()
    await replica.workers.sync.read()
    live = replica.workers.presence.find(worker.id)
    assert live is not None
    assert (live.stored.models, {job_id: held.attempt for job_id, held in live.holding.items()}) == (("m",), {job: 1})
    assert replica.workers.presence.status_of(worker.id) is WorkerStatus.BUSY
    await worker.complete(job)
    clock.advance(WRITE_INTERVAL_S)
    await worker.heartbeat()
    await world.tracker.workers.sync.flush()
    await replica.workers.sync.read()
    assert (live.stored.statistics.total_jobs, live.holding) == (1, {})
    assert replica.workers.presence.status_of(worker.id) is WorkerStatus.ONLINE
    clock.advance(SILENT_S + 1)
    assert replica.workers.presence.status_of(worker.id) is WorkerStatus.OFFLINE


async def test_who_left_elsewhere_is_forgotten(world: World, replica: Tracker, clock: TestClock) -> None:
    """Its token is known no more."""
    worker = await pull_worker(world)
    await worker.heartbeat()
    await world.tracker.workers.sync.flush()
    assert await replica.workers.find(worker.token) is not None
    path = jobs_api.WORKER_PATH.format(worker=worker.id)
    assert (await world.http.delete(path, headers={"X-Worker-Token": worker.token})).status == 204
    clock.advance(1)
    await replica.workers.sync.read()
    assert replica.workers.presence.find(worker.id) is None
    assert await replica.workers.find(worker.token) is None


async def test_maintenance_and_tokens_from_elsewhere(world: World, replica: Tracker, clock: TestClock) -> None:
    """Are read with the rest."""
    worker = await pull_worker(world)
    await worker.heartbeat()
    await world.tracker.workers.sync.flush()
    live = await replica.workers.find(worker.token)
    assert live is not None
    await worker.post(jobs_api.WORKER_MAINTENANCE_PATH, {"enabled": True})
    token = (await (await worker.post(jobs_api.WORKER_TOKEN_PATH, {})).json())["token"]
    clock.advance(1)
    await replica.workers.sync.read()
    assert not live.may_work
    assert await replica.workers.find(token) is live
    clock.advance(60)
    assert await replica.workers.find(worker.token) is None


async def test_many_workers_are_read_in_pages(world: World, monkeypatch: pytest.MonkeyPatch, replica: Tracker) -> None:
    """All of them."""
    monkeypatch.setattr(live_sync, "PAGE_WORKERS", 2)
    found = [await pull_worker(world) for _ in range(5)]
    for worker in found:
        await worker.heartbeat()
    await world.tracker.workers.sync.flush()
    await replica.workers.sync.read()
    assert {worker.id for worker in replica.workers.presence} == {worker.id for worker in found}


async def test_who_a_crashed_tracker_left_behind(world: World, replica: Tracker, clock: TestClock) -> None:
    """The database does not say for ever that they are there."""
    worker = await pull_worker(world)
    await worker.heartbeat()
    await world.tracker.workers.sync.flush()
    clock.advance(100_000)
    await replica.workers.sync.read()
    assert (await _row(replica, worker)).status is WorkerStatus.OFFLINE


@pytest.mark.parametrize("jump_s", [3_600, -3_600])
async def test_a_clock_that_is_set(tracker: Tracker, clock: TestClock, jump_s: float) -> None:
    """Those who are there stay, and are written with the new time; nobody else appears."""
    monotonic = TestClock(0)
    tracker.monotonic = monotonic
    gone = stored_worker(2, status=WorkerStatus.ONLINE, last_heartbeat=int(clock()) - 1_000)
    async with tracker.database.write() as connection:
        await add_worker(connection, stored_worker(1), b"1")
        await add_worker(connection, gone, b"2")
    pool = tracker.workers
    live = pool.presence.meet(stored_worker(1), {}, read_at=0)
    pool.presence.hear(live)
    await pool.sync.read()
    clock.advance(jump_s)
    for _ in range(3):
        monotonic.advance(20)
        clock.advance(20)
        await pool.sync.read()
        assert [worker.id for worker in pool.presence.live()] == [worker_id(1)]
    async with tracker.database.read() as connection:
        row = await find_worker(connection, worker_id(1))
    assert row is not None
    assert (row.status, row.last_heartbeat) == (WorkerStatus.ONLINE, int(clock()) - 60)

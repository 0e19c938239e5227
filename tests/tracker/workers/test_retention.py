"""Workers that are heard no more."""

import pytest
from gpunode_protocol.identity import Identity
from gpunode_tracker.jobs.retention import delete_old
from gpunode_tracker.storage.workers import find_worker
from gpunode_tracker.workers.retention import SILENT_DAYS_S, forget_silent

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import PullWorker, pull_worker, submit


async def _is_kept(world: World, worker: PullWorker) -> bool:
    async with world.tracker.database.read() as connection:
        return await find_worker(connection, worker.id) is not None


@ON_BOTH
async def test_who_was_silent_for_a_month(world: World, clock: TestClock) -> None:
    """Whether it was ever heard or only registered; not before, and nobody who was heard meanwhile, or has a key."""
    never, once, lives = [await pull_worker(world) for _ in range(3)]
    keyed = await pull_worker(world, identity=Identity.generate())
    await once.heartbeat()
    await world.tracker.workers.sync.flush()
    clock.advance(SILENT_DAYS_S)
    assert await forget_silent(world.tracker) == 0
    await lives.heartbeat()
    await world.tracker.workers.sync.flush()
    clock.advance(1)
    assert await forget_silent(world.tracker) == 2
    assert [await _is_kept(world, each) for each in (never, once, lives, keyed)] == [False, False, True, True]
    assert (await once.get("/api/v1/workers/{worker}/next-job")).status == 401


@ON_BOTH
async def test_a_worker_is_kept_as_long_as_a_job_of_its_is(world: World, clock: TestClock) -> None:
    """Its owner sees who did it."""
    worker = await pull_worker(world)
    job = await submit(world, (await world.account())[0])
    await worker.next_job()
    await worker.complete(job)
    await world.tracker.workers.sync.flush()
    clock.advance(SILENT_DAYS_S + 1)
    assert await forget_silent(world.tracker) == 0
    await delete_old(world.tracker)
    assert await forget_silent(world.tracker) == 1


async def test_a_few_at_a_time(world: World, clock: TestClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody waits long for the database."""
    monkeypatch.setattr("gpunode_tracker.workers.retention.BATCH_WORKERS", 2)
    for _ in range(3):
        await pull_worker(world)
    clock.advance(SILENT_DAYS_S + 1)
    assert [await forget_silent(world.tracker) for _ in range(3)] == [2, 1, 0]

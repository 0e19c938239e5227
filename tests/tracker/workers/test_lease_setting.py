"""Leases of another length than the usual one, from the offer to their end."""

import pytest
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.jobs.job import Lease, worker_holder
from gpunode_tracker.storage.attempts import failures_of
from gpunode_tracker.workers.worker import WorkerStatus

from tests.tracker.conftest import World
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import pull_worker, stored_job, submit


@pytest.fixture
def settings(settings: TrackerSettings) -> TrackerSettings:
    """Settings with longer leases."""
    return settings.model_copy(update={"lease_s": 90})


async def test_a_longer_lease(world: World, clock: TestClock) -> None:
    """The worker is told of it, has its job for as long, and again after each heartbeat; then it is lost."""
    owner, worker = (await world.account())[0], await pull_worker(world)
    job = await submit(world, owner)
    assert (await worker.next_job()).lease_s == 90
    outcomes, presence = world.tracker.workers.outcomes, world.tracker.workers.presence
    for _ in range(2):
        clock.advance(89)
        assert await outcomes.expire_leases() == 0
        assert presence.status_of(worker.id) is WorkerStatus.BUSY
        await worker.heartbeat(holding={job: 1})
    clock.advance(91)
    assert await outcomes.expire_leases() == 1
    assert presence.status_of(worker.id) is WorkerStatus.OFFLINE
    async with world.tracker.database.read() as connection:
        assert await failures_of(connection, job) == ["The worker was silent for 90 s."]


async def test_leases_that_begin_anew(world: World) -> None:
    """Are as long as others."""
    owner, worker = (await world.account())[0], await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    lease = Lease(job_id=job, holder=worker_holder(worker.id), attempt=1)
    assert lease in await world.tracker.workers.renewals.renew((lease,))
    assert (await stored_job(world, job)).lease_expires_at == world.tracker.now + 90

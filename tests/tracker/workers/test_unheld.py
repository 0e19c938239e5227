"""Jobs that a worker was given and has not got: its poll was left, its line was cut, it was started anew."""

import asyncio

import pytest
from gpunode_protocol import jobs_api
from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.storage.attempts import failures_of
from gpunode_tracker.workers.unheld import NOT_HELD

from tests.tracker.conftest import World
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import PullWorker, pull_worker, stored_job, submit, until_waiting


@pytest.fixture
async def owner(world: World) -> str:
    """An account with credits."""
    return (await world.account())[0]


async def test_what_a_worker_has_not_got_is_for_others_at_once(world: World, owner: str) -> None:
    """It was sent, whole; the worker says that it asks for nothing now, and does not name it."""
    worker, other = await pull_worker(world), await pull_worker(world)
    job = await submit(world, owner)
    assert (await worker.next_job()).job_id == job
    reply = await worker.heartbeat("offline", holding={}, polling=False)
    assert reply.lost == ()
    given = await other.next_job()
    assert (given.job_id, given.attempt) == (job, 2)
    await other.complete(job)
    assert (await stored_job(world, job)).status is JobStatus.COMPLETED
    assert (await worker.try_to_complete(job)).status == 409


async def test_what_it_names_stays_its_own(world: World, owner: str, clock: TestClock) -> None:
    """And its lease is renewed, as by every heartbeat."""
    worker = await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    clock.advance(30)
    await worker.heartbeat("busy", holding={job: 1}, polling=False)
    stored = await stored_job(world, job)
    assert (stored.status, stored.lease_expires_at) == (JobStatus.RUNNING, int(clock()) + jobs_api.LEASE_S)
    assert (await worker.complete(job)).status == "completed"


@pytest.mark.parametrize("said", [{"holding": {}}, {"holding": {}, "polling": True}, {"polling": False}])
async def test_who_does_not_say_both_keeps_its_jobs(world: World, owner: str, said: dict[str, object]) -> None:
    """An answer may be on its way to it while it says what it holds; and the plan's heartbeat says nothing of jobs."""
    worker = await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    await worker.heartbeat(**said)
    assert (await stored_job(world, job)).status is JobStatus.RUNNING


async def test_an_older_attempt_is_another_job(world: World, owner: str, clock: TestClock) -> None:
    """Who still names the one that it lost has not got the one that it was given since."""
    worker = await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    clock.advance(jobs_api.LEASE_S + 1)
    await world.tracker.workers.outcomes.expire_leases()
    clock.advance(60)
    assert (await worker.next_job()).attempt == 2
    assert (await worker.heartbeat(holding={job: 1}, polling=False)).lost == (job,)
    stored = await stored_job(world, job)
    assert (stored.status, stored.attempt) == (JobStatus.QUEUED, 2)


async def test_a_restarted_worker_at_another_tracker(world: World, owner: str) -> None:
    """A process that was killed had jobs that this tracker has not heard of; the database has."""
    worker = await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    world.tracker.workers.presence.forget(worker.id)
    world.tracker.workers.tokens.forget(worker.id)
    await worker.heartbeat(holding={}, polling=False)
    assert (await stored_job(world, job)).status is JobStatus.QUEUED
    assert world.tracker.workers.presence.status_of(worker.id) == "online"


async def test_a_poll_that_its_worker_left_is_given_nothing(world: World, owner: str) -> None:
    """The tracker may not know yet that the line is gone, as behind a proxy; nothing is lost on such a way."""
    worker: PullWorker = await pull_worker(world)
    poll = asyncio.create_task(worker.next_job(wait=30))
    await until_waiting(world.tracker.workers.waiting, 1)
    await worker.heartbeat(holding={}, polling=False)
    job = await submit(world, owner)
    world.tracker.workers.waiting.let_go()
    assert (await poll).job_id is None
    assert (await stored_job(world, job)).attempt == 0
    given = await worker.next_job()  # which is another poll
    assert (given.job_id, given.attempt) == (job, 1)


async def test_the_owner_is_told_why(world: World, owner: str) -> None:
    """It is an attempt: nobody can know what the worker did with it before."""
    worker = await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    await worker.heartbeat(holding={}, polling=False)
    async with world.tracker.database.read() as connection:
        assert await failures_of(connection, job) == [NOT_HELD]
    live = world.tracker.workers.presence.find(worker.id)
    assert live is not None
    assert live.stored.statistics.total_jobs == 1

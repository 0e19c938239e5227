"""Trackers and their workers together: several replicas, races, what comes while somebody looks."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from gpunode_protocol.jobs_api import NextJob, WorkerRegistration
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.audit import OPERATOR
from gpunode_tracker.ban_desk import BanDesk
from gpunode_tracker.bans import BanKind
from gpunode_tracker.jobs.job import JobStatus, Lease, worker_holder
from gpunode_tracker.storage.tables import job_attempts, jobs
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.presence import LiveWorker
from sqlalchemy import func, select

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import TestClock, job_id
from tests.tracker.pull_workers import ANSWER, pull_worker, stored_job, submit, until_waiting
from tests.tracker.workers.queued import add_jobs, queued_job

RACERS = 6


@pytest.fixture
async def replica(tracker: Tracker, clock: TestClock) -> AsyncIterator[Tracker]:
    """Another tracker on the same database."""
    other = await Tracker.open(tracker.settings, clock, clock)
    yield other
    await other.close()


async def _worker(tracker: Tracker) -> tuple[LiveWorker, str]:
    """Return a worker that this tracker has heard, and its token."""
    body = WorkerRegistration(region=Region.EUROPE, supported_types=(Task.LLM,))
    registered = await tracker.workers.register(body, None)
    return await _known(tracker, registered.token), registered.token


async def _known(tracker: Tracker, token: str) -> LiveWorker:
    worker = await tracker.workers.find(token)
    assert worker is not None
    tracker.workers.presence.hear(worker)
    return worker


async def _work(tracker: Tracker, worker: LiveWorker, taken: list[str]) -> None:
    """Take jobs and complete them until there are none."""
    while True:
        job = await tracker.workers.next_job(worker, 0, lambda: False)
        if job.job_id is None or job.attempt is None:
            return
        taken.append(job.job_id)
        lease = Lease(job_id=job.job_id, holder=worker_holder(worker.id), attempt=job.attempt)
        ended = await tracker.workers.outcomes.complete(lease, ANSWER, started_at=tracker.now)
        assert ended is not None


@ON_BOTH
@pytest.mark.parametrize("count", [60, pytest.param(1_000, marks=pytest.mark.full)])
async def test_two_replicas_race(
    tracker: Tracker, replica: Tracker, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Every job runs, and none twice, whoever of both trackers is asked."""
    monkeypatch.setattr(tracker.desk, "params_of", lambda _: {})
    monkeypatch.setattr(replica.desk, "params_of", lambda _: {})
    await add_jobs(tracker, *(queued_job(number) for number in range(1, count + 1)))
    taken: list[str] = []
    racers = []
    for number in range(RACERS):
        at = (tracker, replica)[number % 2]
        worker, _ = await _worker(at)
        racers.append(_work(at, worker, taken))
    await asyncio.gather(*racers)
    assert len(taken) == len(set(taken)) == count
    async with tracker.database.read() as connection:
        statuses = (await connection.execute(select(jobs.c.status))).scalars().all()
        attempts = (await connection.execute(select(func.count()).select_from(job_attempts))).scalar_one()
    assert (set(statuses), attempts) == ({JobStatus.COMPLETED}, count)


@ON_BOTH
async def test_one_worker_at_two_replicas(tracker: Tracker, replica: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds four jobs all together, however many polls it sends at once."""
    monkeypatch.setattr(tracker.desk, "params_of", lambda _: {})
    monkeypatch.setattr(replica.desk, "params_of", lambda _: {})
    await add_jobs(tracker, *(queued_job(number) for number in range(1, 21)))
    here, token = await _worker(tracker)
    there = await _known(replica, token)
    polls = [at.workers.next_job(worker, 0, lambda: False) for at, worker in ((tracker, here), (replica, there)) * 6]
    given = [job.job_id for job in await asyncio.gather(*polls)]
    held = [job_id for job_id in given if job_id is not None]
    assert len(held) == len(set(held)) == tracker.settings.worker_jobs


@ON_BOTH
async def test_waiters_of_two_replicas(tracker: Tracker, replica: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tracker gives out what it can; together they give each job once."""
    waiters = []
    for number in range(RACERS):
        at = (tracker, replica)[number % 2]
        monkeypatch.setattr(at.desk, "params_of", lambda _: {})
        worker, _ = await _worker(at)
        waiters.append(asyncio.create_task(at.workers.waiting.wait(worker, 30, lambda: False)))
    await asyncio.sleep(0)
    await add_jobs(tracker, *(queued_job(number) for number in range(1, RACERS - 1)))
    given = await asyncio.gather(tracker.workers.waiting.match(), replica.workers.waiting.match())
    for at in (tracker, replica):
        at.workers.waiting.close()
    found = [job.job_id for job in await asyncio.gather(*waiters) if job is not None]
    assert sum(given) == len(found) == len(set(found)) == RACERS - 2


async def test_what_comes_while_the_queue_is_being_looked_into(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is found by a second look, not after a wait."""
    worker, _ = await _worker(tracker)
    looks = []

    async def take_any(_: LiveWorker) -> NextJob | None:
        looks.append(len(looks))
        if len(looks) > 1:
            return NextJob(job_id=job_id(1))
        await tracker.news.queue_grew()
        return None

    monkeypatch.setattr(tracker.workers.taking, "take_any", take_any)
    assert (await tracker.workers.next_job(worker, 30, lambda: False)).job_id == job_id(1)


async def test_a_queue_that_never_rests(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not keep a worker looking for ever for what others take."""
    worker, _ = await _worker(tracker)
    looks = []

    async def take_any(_: LiveWorker) -> NextJob | None:
        looks.append(len(looks))
        await tracker.news.queue_grew()
        return None

    monkeypatch.setattr(tracker.workers.taking, "take_any", take_any)
    assert (await tracker.workers.next_job(worker, 0, lambda: False)).job_id is None
    assert len(looks) == 3


async def test_tokens_are_asked_for_once(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is known costs no look into the database; unknown tokens do, and are not remembered."""
    _, token = await _worker(tracker)
    reads = Counter[str]()
    read = tracker.database.read

    def counted() -> object:
        reads["all"] += 1
        return read()

    monkeypatch.setattr(tracker.database, "read", counted)
    for _ in range(3):
        assert await tracker.workers.find(token) is not None
    assert reads["all"] == 0
    for _ in range(2):
        assert await tracker.workers.find("gpw_wrong") is None
    assert reads["all"] == 2
    assert len(tracker.workers.tokens) == 1


async def test_a_restarted_tracker(world: World, clock: TestClock) -> None:
    """Knows at once, by a worker's next request, which jobs it holds; a plan's heartbeat renews them."""
    owner, worker = (await world.account())[0], await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    clock.advance(50)
    world.tracker.workers.presence.forget(worker.id)
    world.tracker.workers.tokens.forget(worker.id)
    assert (await worker.heartbeat()).lost == ()
    assert (await stored_job(world, job)).lease_expires_at == int(clock()) + 60
    assert world.tracker.workers.presence.status_of(worker.id) == "busy"


async def test_whoever_is_shut_out_while_it_waits_gets_no_job(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its poll began before; a job has a prompt in it. When the ban is lifted, it works again at once."""
    worker, _ = await _worker(tracker)
    bans = BanDesk(tracker.database, tracker.clock, OPERATOR)
    waiting = asyncio.create_task(tracker.workers.waiting.wait(worker, 30, lambda: False))
    await until_waiting(tracker.workers.waiting, 1)
    await bans.place(BanKind.WORKER, worker.id, "spam")
    await tracker.refresh_bans()
    monkeypatch.setattr(tracker.desk, "params_of", lambda _: {})
    await add_jobs(tracker, queued_job(1))
    assert await tracker.workers.waiting.match() == 0
    await bans.lift(BanKind.WORKER, worker.id)
    await tracker.refresh_bans()
    assert await tracker.workers.waiting.match() == 1
    assert await waiting is not None

"""Polls that wait, and who gets a job."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from gpunode_protocol.jobs_api import NextJob, WorkerHeartbeat
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs import waiting
from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.jobs.queue_order import AGING_MS
from gpunode_tracker.jobs.waiting import WaitingPolls
from gpunode_tracker.storage.claim_statements import ANY_AGE, OlderOnly
from gpunode_tracker.storage.jobs import find_job_state
from gpunode_tracker.storage.queue_heads import Head
from gpunode_tracker.storage.workers import add_worker
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.nearest_first import KEEP_S, NearestFirst
from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.statistics import Statistics

from tests.tracker.parties import START_AT, job_id
from tests.tracker.pull_workers import until_waiting
from tests.tracker.workers.examples import stored_worker
from tests.tracker.workers.queued import add_jobs, queued_job

ANYBODY = Head("llm/*/*", 0, None)


class Scene:
    """Waiting polls. Jobs are claimed really, but told without their parameters."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.nearest = NearestFirst(tracker.clock, tracker.monotonic, self.may_take)
        self.waiting = WaitingPolls(
            tracker.database, tracker.news, self, self.nearest, tracker.monotonic, random.Random(6)
        )
        self.polls: dict[str, asyncio.Task[NextJob | None]] = {}
        self.asked: list[str] = []
        self.returned: list[str] = []
        self.before_taking: Callable[[LiveWorker], Any] = lambda _: None

    async def live(self, number: int, **changes: Any) -> LiveWorker:
        """Return a worker that the database and the presence know."""
        stored = stored_worker(number, **changes)
        async with self.tracker.database.write() as connection:
            await add_worker(connection, stored, bytes([number]))
        presence = self.tracker.workers.presence
        worker = presence.meet(stored, {}, read_at=self.tracker.monotonic())
        presence.beat(worker, WorkerHeartbeat(status="online"))
        return worker

    async def poll(
        self, worker: LiveWorker, *, is_gone: Callable[[], bool] = lambda: False, wait_s: float = 30, name: str = ""
    ) -> None:
        """Let a worker wait; ``name``: of the poll, if it has several."""
        count = len(self.waiting)
        self.polls[name or worker.id] = asyncio.create_task(self.waiting.wait(worker, wait_s, is_gone))
        await until_waiting(self.waiting, count + 1)

    async def given(self) -> dict[str, str]:
        """Return who was given which job; the others wait no longer."""
        self.waiting.close()
        ended = {name: await poll for name, poll in self.polls.items()}
        return {name: job.job_id or "" for name, job in ended.items() if job is not None}

    def may_take(self, worker: LiveWorker) -> bool:
        """See ``Taking``."""
        return self.tracker.workers.taking.may_take(worker)

    async def take(self, worker: LiveWorker, lanes: Sequence[str], older_only: OlderOnly = ANY_AGE) -> NextJob | None:
        """See ``Taking``."""
        self.asked.append(worker.id)
        self.before_taking(worker)
        job = await self.tracker.workers.taking._claim(worker, lanes, older_only)
        return None if job is None else NextJob(job_id=job.id, attempt=job.attempt)

    async def undo(self, worker: LiveWorker, job: NextJob) -> None:
        """See ``Taking``."""
        self.returned.append(job.job_id or "")
        await self.tracker.workers.taking.undo(worker, job)


@pytest.fixture
def scene(tracker: Tracker) -> Scene:
    """The scene."""
    return Scene(tracker)


async def test_the_nearest_waiter(scene: Scene) -> None:
    """By the client's region, however heavy the others are."""
    asia = await scene.live(1, region="asia", gpu_memory_gb=1.0)
    for worker in (await scene.live(2), asia):
        await scene.poll(worker)
    await add_jobs(scene.tracker, queued_job(1, client_region="oceania"))
    assert await scene.waiting.match() == 1
    assert await scene.given() == {asia.id: job_id(1)}


async def test_a_nearer_one_that_does_not_wait(scene: Scene) -> None:
    """A young job is kept for a worker that asked lately: one that waits has it when nobody took it for a second."""
    near, far = await scene.live(1, region="asia"), await scene.live(2)
    await scene.poll(far)
    scene.nearest.asked_in_vain(near)
    await add_jobs(scene.tracker, queued_job(1, client_region="asia", rank=1000 * START_AT))
    assert await scene.waiting.match() == 0
    scene.tracker.clock.advance(KEEP_S)  # type: ignore[attr-defined]  # -- the tests' clock
    assert await scene.waiting.match() == 1
    assert await scene.given() == {far.id: job_id(1)}


async def test_what_stands_behind_a_job_that_is_kept(scene: Scene) -> None:
    """An older job of lower priority in the same lane is for who waits: urgent ones from elsewhere do not starve it."""
    near, far = await scene.live(1, region="asia"), await scene.live(2)
    await scene.poll(far)
    scene.nearest.asked_in_vain(near)
    urgent, old = 1000 * START_AT - 9 * AGING_MS, 1000 * (START_AT - 60)
    await add_jobs(
        scene.tracker,
        queued_job(1, client_region="asia", rank=urgent, priority=9),
        queued_job(2, client_region="asia", rank=old),
    )
    assert await scene.waiting.match() == 1
    assert await scene.given() == {far.id: job_id(2)}


async def test_only_who_can_do_it(scene: Scene) -> None:
    """Type, region and model; and who is in maintenance or has enough is not asked."""
    images = await scene.live(1, supported_types=("image_gen",))
    resting = await scene.live(2)
    full = await scene.live(3)
    able = await scene.live(4, models=("m",))
    scene.tracker.workers.presence.amend(resting.id, maintenance=True)
    for number in range(4):
        scene.tracker.workers.presence.hold(full.id, f"job {number}", 1)
    for worker in (images, resting, full, able):
        await scene.poll(worker)
    await add_jobs(scene.tracker, queued_job(1, model="m", region="europe"), queued_job(2, model="n"))
    assert await scene.waiting.match() == 1
    assert scene.asked == [able.id]
    assert await scene.given() == {able.id: job_id(1)}


async def test_as_many_jobs_as_waiters(scene: Scene) -> None:
    """In the queue's order; what is left stays there."""
    workers = [await scene.live(number) for number in range(1, 4)]
    for worker in workers:
        await scene.poll(worker)
    await add_jobs(scene.tracker, *(queued_job(number) for number in range(1, 6)))
    assert await scene.waiting.match() == 3
    assert sorted((await scene.given()).values()) == [job_id(1), job_id(2), job_id(3)]


async def test_the_draw_is_by_weight(scene: Scene) -> None:
    """Over 5,000 seeded draws, each waiter is first as often as the plan's weight says, within three percent of all."""
    large = await scene.live(1, gpu_memory_gb=24.0)
    small = await scene.live(2, gpu_memory_gb=4.0)
    failing = await scene.live(3, gpu_memory_gb=12.0, statistics=Statistics(success_rate=0.5))
    busy = await scene.live(4, gpu_memory_gb=24.0)
    scene.tracker.workers.presence.hold(busy.id, "job", 1)
    weights = {large.id: 150, small.id: 100, failing.id: 60, busy.id: 15}
    for worker in (large, small, failing, busy):
        await scene.poll(worker)
    firsts = Counter(next(scene.waiting._drawn(ANYBODY)).worker.id for _ in range(5_000))
    for worker_id, weight in weights.items():
        assert firsts[worker_id] / 5_000 == pytest.approx(weight / sum(weights.values()), abs=0.03)
    assert await scene.given() == {}


async def test_nobody_is_left_out(scene: Scene) -> None:
    """A worker with the least weight gets jobs too."""
    heavy, light = await scene.live(1), await scene.live(2, gpu_memory_gb=0.0, statistics=Statistics(success_rate=0.3))
    for worker in (heavy, light):
        await scene.poll(worker)
    firsts = {next(scene.waiting._drawn(ANYBODY)).worker.id for _ in range(200)}
    assert firsts == {heavy.id, light.id}
    await scene.given()


async def test_a_draw_among_many_looks_at_some(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait that are equally near; others are looked at when none of these can be given a job."""
    monkeypatch.setattr(waiting, "DRAWN_FROM", 3)
    looked_at: list[str] = []
    workers = [await scene.live(number) for number in range(1, 10)]
    for worker in workers:
        await scene.poll(worker, is_gone=lambda worker=worker: looked_at.append(worker.id))  # type: ignore[misc]  # -- None is false
    drawn = next(scene.waiting._drawn(ANYBODY))
    assert len(looked_at) == 3
    for worker in workers:
        if worker is not drawn.worker:
            scene.tracker.workers.presence.amend(worker.id, maintenance=True)
    for _ in range(10):
        assert [*scene.waiting._drawn(ANYBODY)] == [drawn]
    await scene.given()


async def test_the_chances_of_many_are_those_of_their_weights(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly, also when only some of them are drawn from; whom nobody draws from among is not left out."""
    monkeypatch.setattr(waiting, "DRAWN_FROM", 4)
    for number in range(1, 9):
        await scene.poll(await scene.live(number))
    counts = Counter(next(scene.waiting._drawn(ANYBODY)).worker.id for _ in range(800))
    assert len(counts) == 8
    assert max(counts.values()) < 2 * min(counts.values())
    await scene.given()


async def test_a_waiter_that_can_do_more_now(scene: Scene) -> None:
    """Its heartbeat told of another model while it waits: it is given the jobs of that within a second."""
    worker = await scene.live(1, models=("m",))
    await scene.poll(worker)
    await add_jobs(scene.tracker, queued_job(1, model="n"))
    scene.tracker.workers.presence.beat(worker, WorkerHeartbeat(status="online", models=("m", "n")))
    scene.waiting.let_go()
    assert await scene.waiting.match() == 1
    assert await scene.given() == {worker.id: job_id(1)}


async def test_who_polls_twice_has_one_lot(scene: Scene) -> None:
    """Many connections are no more weight."""
    one, other = await scene.live(1), await scene.live(2)
    await scene.poll(other)
    for number in range(9):
        await scene.poll(one, name=str(number))
    firsts = Counter(next(scene.waiting._drawn(ANYBODY)).worker.id for _ in range(2_000))
    assert firsts[one.id] / 2_000 == pytest.approx(0.5, abs=0.05)
    await scene.given()


async def test_who_had_the_job_before_is_passed_over(scene: Scene) -> None:
    """The next one in the draw gets it."""
    had, other = await scene.live(1, gpu_memory_gb=80.0), await scene.live(2, region="oceania", gpu_memory_gb=0.0)
    await add_jobs(scene.tracker, queued_job(1, client_region="europe"))
    given = await scene.take(had, ("llm/*/*",))
    assert given is not None
    await scene.tracker.workers.taking.put_back(had, given)
    for worker in (had, other):
        await scene.poll(worker)
    assert await scene.waiting.match() == 1
    assert scene.asked == [had.id, had.id, other.id]
    assert await scene.given() == {other.id: job_id(1)}


async def test_who_has_left_gets_nothing(scene: Scene) -> None:
    """The job is for those who are there."""
    gone, there = await scene.live(1), await scene.live(2)
    await scene.poll(gone, is_gone=lambda: True)
    await scene.poll(there)
    await add_jobs(scene.tracker, queued_job(1), queued_job(2))
    assert await scene.waiting.match() == 1
    assert await scene.given() == {there.id: job_id(1)}


async def test_who_has_left_waits_no_more(scene: Scene) -> None:
    """Those who are there go on."""
    gone, there = await scene.live(1), await scene.live(2)
    await scene.poll(gone, is_gone=lambda: True)
    await scene.poll(there)
    scene.waiting.let_go()
    assert await scene.polls.pop(gone.id) is None
    assert len(scene.waiting) == 1
    assert await scene.given() == {}


async def test_who_leaves_while_it_is_given_a_job(scene: Scene) -> None:
    """The job is given back, and others get it at once; nobody was told of it, so no attempt is counted."""
    left = set[str]()
    leaving, staying = await scene.live(1), await scene.live(2, region="asia")
    await scene.poll(leaving, is_gone=lambda: leaving.id in left)
    await scene.poll(staying)
    await add_jobs(scene.tracker, queued_job(1, client_region="europe"))
    scene.before_taking = lambda worker: left.add(worker.id) if worker is leaving else None
    assert await scene.waiting.match() == 2
    assert scene.returned == [job_id(1)]
    assert scene.polls[staying.id].result() == NextJob(job_id=job_id(1), attempt=1)
    assert await scene.given() == {staying.id: job_id(1)}


async def test_a_poll_that_is_cancelled_while_it_is_given_a_job(scene: Scene) -> None:
    """Likewise: the server stops, or ends a request whose sender has left."""
    leaving = await scene.live(1)
    await scene.poll(leaving)
    await add_jobs(scene.tracker, queued_job(1))
    scene.before_taking = lambda worker: scene.polls[worker.id].cancel()
    assert await scene.waiting.match() == 1
    assert scene.returned == [job_id(1)]
    with pytest.raises(asyncio.CancelledError):
        await scene.polls[leaving.id]
    assert len(scene.waiting) == 0


async def test_a_poll_that_is_cancelled_when_it_has_been_given_a_job(scene: Scene) -> None:
    """Before it could tell anybody: the job waits again, with all of its attempts."""
    leaving = await scene.live(1)
    await scene.poll(leaving)
    await add_jobs(scene.tracker, queued_job(1))
    (poll,) = scene.waiting._polls
    poll.given.add_done_callback(lambda _: scene.polls[leaving.id].cancel())
    assert await scene.waiting.match() == 1
    with pytest.raises(asyncio.CancelledError):
        await scene.polls[leaving.id]
    async with scene.tracker.database.read() as connection:
        job = await find_job_state(connection, job_id(1))
    assert job is not None
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 0)
    assert not leaving.holding


async def test_a_time_that_ends_while_a_job_is_on_its_way(scene: Scene) -> None:
    """The job arrives all the same."""
    worker = await scene.live(1)
    timed_out = asyncio.Event()
    wait = asyncio.wait

    async def slow(*arguments: Any, **options: Any) -> Any:
        if options.get("timeout") is None:  # the second wait: the time was over
            timed_out.set()
        return await wait(*arguments, **options)

    claim = scene.take

    async def take(taker: LiveWorker, lanes: Sequence[str], older_only: OlderOnly = ANY_AGE) -> NextJob | None:
        await timed_out.wait()
        return await claim(taker, lanes, older_only)

    scene.take = take  # type: ignore[method-assign]  # -- the test's own step in between
    await add_jobs(scene.tracker, queued_job(1))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asyncio, "wait", slow)
        await scene.poll(worker, wait_s=0.2)
        async with asyncio.timeout(20):
            assert await scene.waiting.match() == 1
            job = await scene.polls[worker.id]
    assert job is not None
    assert job.job_id == job_id(1)


async def test_waiting_ends(scene: Scene) -> None:
    """After its time, with nothing; and nothing is kept of it."""
    worker = await scene.live(1)
    assert await scene.waiting.wait(worker, 0, lambda: False) is None
    assert len(scene.waiting) == 0
    scene.waiting.close()
    assert await scene.waiting.wait(worker, 30, lambda: False) is None


async def test_the_queue_wakes_it(scene: Scene) -> None:
    """As soon as it grows, without looking all the time."""
    worker = await scene.live(1)
    running = asyncio.create_task(scene.waiting.run())
    await scene.poll(worker)
    await add_jobs(scene.tracker, queued_job(1))
    await scene.tracker.news.queue_grew()
    async with asyncio.timeout(20):
        job = await scene.polls[worker.id]
    running.cancel()
    await asyncio.wait({running})
    assert job is not None
    assert job.job_id == job_id(1)


async def test_a_database_that_is_away(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is logged, and asked again at the next chance; the polls go on waiting."""
    worker = await scene.live(1)
    caplog.set_level(logging.ERROR)
    failures: list[Exception] = [StorageUnavailable(), ValueError()]

    def fail(_: LiveWorker) -> None:
        if failures:
            raise failures.pop(0)

    scene.before_taking = fail
    await add_jobs(scene.tracker, queued_job(1))
    await scene.poll(worker)
    monkeypatch.setattr("gpunode_tracker.jobs.waiting.LOOK_INTERVAL_S", 0.0)
    running = asyncio.create_task(scene.waiting.run())
    async with asyncio.timeout(20):
        job = await scene.polls[worker.id]
    running.cancel()
    await asyncio.wait({running})
    assert job is not None
    assert job.job_id == job_id(1)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]

"""Hearing of other processes' work without Redis: two trackers on one database."""

import asyncio

import pytest
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs.news import JobNews, Word
from gpunode_tracker.shared import job_poll
from gpunode_tracker.shared.job_poll import JobPoll

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.jobs.queue_parties import ANSWER, Queue

pytestmark = ON_BOTH
WAIT_S = 60


class Elsewhere:
    """A process that looks at the tracker's database, and hears of it in no other way."""

    def __init__(self, world: World) -> None:
        self.news = JobNews()
        self.is_told = False
        self.poll = JobPoll(world.tracker.database, self.news, lambda: self.is_told)

    async def hear(self, waiting: asyncio.Queue[Word]) -> list[Word]:
        """Look, and return what followers hear."""
        await self.poll.look()
        return [waiting.get_nowait() for _ in range(waiting.qsize())]


@pytest.fixture
def elsewhere(world: World) -> Elsewhere:
    """The other process."""
    return Elsewhere(world)


async def test_followers_hear_every_change(world: World, elsewhere: Elsewhere) -> None:
    """Once each, to the end."""
    account, _ = await world.account()
    queue, desk = Queue(world.tracker), world.tracker.desk
    job = await queue.submit(account)
    async with elsewhere.news.follow(job.id) as waiting:
        assert await elsewhere.hear(waiting) == []
        _, lease = await queue.claim("worker:w")
        running = Word(job.id, "running", {"attempt": 1, "served_by": "worker:w"})
        assert await elsewhere.hear(waiting) == [running]
        assert await elsewhere.hear(waiting) == []
        await desk.fail(lease, "no")
        assert await elsewhere.hear(waiting) == [Word(job.id, "queued")]
        _, lease = await queue.claim("worker:x")
        await elsewhere.hear(waiting)
        assert await desk.complete(lease, ANSWER, processing_ms=1) is not None
        assert await elsewhere.hear(waiting) == [Word(job.id, "done", {"status": "completed"})]
        assert await elsewhere.hear(waiting) == []


async def test_what_ended_before_the_first_look(world: World, elsewhere: Elsewhere) -> None:
    """The follower may have looked a moment earlier, so it is told."""
    account, _ = await world.account()
    job = await Queue(world.tracker).submit(account)
    await world.tracker.desk.cancel(job)
    async with elsewhere.news.follow(job.id) as waiting:
        assert await elsewhere.hear(waiting) == [Word(job.id, "done", {"status": "cancelled"})]


async def test_only_followed_jobs_are_remembered(world: World, elsewhere: Elsewhere) -> None:
    """Memory does not grow with the queue."""
    account, _ = await world.account()
    job = await Queue(world.tracker).submit(account)
    async with elsewhere.news.follow(job.id):
        await elsewhere.poll.look()
        assert set(elsewhere.poll._states) == {job.id}
    await elsewhere.poll.look()
    assert elsewhere.poll._states == {}


async def test_a_new_head_wakes_who_waits_for_the_queue(world: World, elsewhere: Elsewhere) -> None:
    """Nothing new, and nothing that goes, wakes nobody."""
    account, _ = await world.account()
    queue = Queue(world.tracker)
    await elsewhere.poll.look()
    assert elsewhere.news.changes == 0
    await queue.submit(account)
    await elsewhere.poll.look()
    await elsewhere.poll.look()
    assert elsewhere.news.changes == 1
    await queue.claim("worker:w")
    await elsewhere.poll.look()
    assert elsewhere.news.changes == 1


async def test_it_looks_by_itself(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a look that failed; while Redis brings the news, it looks seldom."""
    monkeypatch.setattr(job_poll, "INTERVAL_S", 0)
    looks: asyncio.Queue[int] = asyncio.Queue()
    failures = iter([StorageUnavailable(), ValueError()])

    async def look() -> None:
        turn = elsewhere.poll._turns
        looks.put_nowait(turn)
        elsewhere.is_told = turn >= 3
        failure = next(failures, None)
        if failure is not None:
            raise failure

    monkeypatch.setattr(elsewhere.poll, "look", look)
    running = asyncio.create_task(elsewhere.poll.run())
    async with asyncio.timeout(WAIT_S):
        assert [await looks.get() for _ in range(5)] == [1, 2, 3, 10, 20]
    running.cancel()

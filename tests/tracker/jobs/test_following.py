"""Following a job to its end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from gpunode_protocol.jobs_api import JobEventName
from gpunode_tracker.jobs import following
from gpunode_tracker.jobs.following import JobEvent, follow
from gpunode_tracker.jobs.job import StoredJob
from gpunode_tracker.jobs.news import MAX_WAITING_WORDS, Word
from gpunode_tracker.storage.jobs import delete_jobs

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import ANSWER, Queue

Events = AsyncGenerator[JobEvent | None, None]


@pytest.fixture
async def job(world: World, queue: Queue) -> StoredJob:
    """A queued job."""
    account, _ = await world.account()
    return await queue.submit(account)


async def names(events: Events) -> list[str]:
    """Return the names of all further events."""
    return [event.name if event is not None else "" async for event in events]


async def test_words_only_say_when_to_look(queue: Queue, job: StoredJob) -> None:
    """What is told of the job's state is the database's; the same state is told once."""
    news = queue.tracker.news
    async with aclosing(follow(queue.tracker, job.id)) as events:
        first = await anext(events)
        assert first is not None
        assert first.name == JobEventName.QUEUED
        news.tell(Word(job.id, "running", {"attempt": 9}))  # not so
        news.tell(Word(job.id, "queued"))
        news.tell(Word(job.id, "tokens", {"text": "x"}))
        assert await anext(events) == JobEvent("tokens", {"text": "x"})
        await queue.claim("worker:w")
        news.tell(Word(job.id, "running"))
        assert await anext(events) == JobEvent("running", {"attempt": 1, "served_by": "worker:w"})


async def test_the_end_comes_last(queue: Queue, job: StoredJob) -> None:
    """And nothing after it; nobody follows any more."""
    events = follow(queue.tracker, job.id)
    await anext(events)
    _, lease = await queue.claim()
    await queue.tracker.desk.complete(lease, ANSWER, processing_ms=1)
    queue.tracker.news.tell(Word(job.id, "tokens", {"text": "late"}))
    assert await names(events) == ["done"]
    assert queue.tracker.news._followers == {}


async def test_what_happens_while_it_begins_is_not_missed(queue: Queue, job: StoredJob) -> None:
    """It listens first and looks then."""
    await queue.tracker.desk.cancel(job)
    assert await names(follow(queue.tracker, job.id)) == ["done"]


async def test_a_lost_word_delays_and_never_misleads(
    queue: Queue, job: StoredJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without news the database is looked at from time to time."""
    monkeypatch.setattr(following, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(queue.tracker.news, "tell", lambda _word: None)
    events = follow(queue.tracker, job.id)
    await anext(events)
    assert await anext(events) is None
    await queue.tracker.desk.cancel(job)
    assert [name for name in await names(events) if name] == ["done"]


async def test_whoever_has_gone_is_not_followed_for(
    queue: Queue, job: StoredJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends without a word."""
    monkeypatch.setattr(following, "PRESENCE_S", 0.01)
    gone = asyncio.Event()
    events = follow(queue.tracker, job.id, is_gone=gone.is_set)
    await anext(events)
    waiting = asyncio.ensure_future(names(events))
    gone.set()
    async with asyncio.timeout(30):
        assert set(await waiting) <= {""}
    assert queue.tracker.news._followers == {}


async def test_a_job_that_is_deleted(queue: Queue, job: StoredJob) -> None:
    """Is followed no further."""
    events = follow(queue.tracker, job.id)
    await anext(events)
    async with queue.tracker.database.write() as connection:
        await delete_jobs(connection, [job.id])
    queue.tracker.news.tell(Word(job.id, "done"))
    assert await names(events) == []


async def test_a_slow_follower_has_bounded_news(queue: Queue, job: StoredJob) -> None:
    """It misses the oldest pieces, and still sees the end."""
    events = follow(queue.tracker, job.id)
    await anext(events)
    for number in range(2 * MAX_WAITING_WORDS):
        queue.tracker.news.tell(Word(job.id, "tokens", {"text": str(number)}))
    await queue.tracker.desk.cancel(job)
    seen = await names(events)
    assert (len(seen), seen[-1]) == (MAX_WAITING_WORDS, "done")

"""News between replicas, over a real Redis."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gpunode_tracker.jobs.news import JobNews, Word
from gpunode_tracker.shared.news_exchange import (
    MAX_MESSAGE_BYTES,
    MAX_WAITING_BYTES,
    MAX_WAITING_MESSAGES,
    NewsExchange,
)
from gpunode_tracker.shared.redis_link import RedisLink

from tests.tracker.redis_server import Redis
from tests.tracker.shared.conftest import PATIENT_S, Babbler

WAIT_S = 60


class Replica:
    """The news of one process, and what it dropped."""

    def __init__(self, url: str, name: str) -> None:
        self.link = RedisLink(url, "gpunode:test", timeout_s=PATIENT_S, watch_interval_s=0.02)
        self.news = JobNews()
        self.dropped: Counter[str] = Counter()
        self.drops: asyncio.Queue[str] = asyncio.Queue()
        self.exchange = NewsExchange(self.link, self.news, replica=name, on_dropped=self._drop)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Replica"]:
        """Let it listen."""
        await self.link.start()
        self.exchange.start()
        await self.listens()
        yield self
        await self.exchange.stop()
        await self.link.stop()

    async def listens(self) -> None:
        """Wait until it does."""
        async with asyncio.timeout(WAIT_S):
            await self.exchange.is_listening.wait()

    async def publish(self, message: bytes) -> None:
        """Say anything on the channel."""
        await self.link.call(lambda redis: redis.publish("gpunode:test:news", message))

    def _drop(self, reason: str) -> None:
        self.dropped[reason] += 1
        self.drops.put_nowait(reason)


@pytest.fixture
async def replicas(redis_url: str) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two that listen."""
    async with Replica(redis_url, "one").running() as one, Replica(redis_url, "two").running() as two:
        yield one, two


async def _next(waiting: asyncio.Queue[Word]) -> Word:
    async with asyncio.timeout(WAIT_S):
        return await waiting.get()


async def test_followers_elsewhere_hear_of_a_job(replicas: tuple[Replica, Replica]) -> None:
    """In order, with all that was said, and only once where it was said."""
    one, two = replicas
    words = [Word("j", "running", {"attempt": 1}), Word("j", "tokens", {"text": "ü\n"}), Word("j", "done", {})]
    async with one.news.follow("j") as here, two.news.follow("j") as there:
        for word in words:
            one.news.tell(word)
        assert [await _next(there) for _ in words] == words
        two.news.tell(Word("j", "queued", {"position": 3}))
        assert [await _next(here) for _ in range(4)] == [*words, Word("j", "queued", {"position": 3})]
        assert here.empty()


async def test_whoever_waits_for_the_queue_elsewhere_wakes(replicas: tuple[Replica, Replica]) -> None:
    """And is told so once, however often the queue grew in one moment."""
    one, two = replicas
    since = two.news.changes
    for _ in range(50):
        await one.news.queue_grew()
    assert await two.news.wait_for_queue(since, WAIT_S)
    await one.news.queue_grew()


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"no json",
        b"\xff\xfe",
        b"[]",
        b"[" * 5_000,
        b'{"replica": "x"}x',
        json.dumps({"replica": "x", "job": "j"}).encode(),
        json.dumps({"replica": "x", "name": "done"}).encode(),
        json.dumps({"replica": "x", "job": "j", "name": "shutdown"}).encode(),
        json.dumps({"replica": "x", "job": "j", "name": "done", "data": []}).encode(),
        json.dumps({"replica": "x", "job": "j" * 65, "name": "done"}).encode(),
        json.dumps({"replica": "x", "job": "j", "name": "done", "more": 1}).encode(),
        json.dumps({"replica": "x", "job": "j", "name": "done", "data": {"x": "y" * MAX_MESSAGE_BYTES}}).encode(),
    ],
    ids=range(13),
)
async def test_what_is_no_news_is_ignored(replicas: tuple[Replica, Replica], message: bytes) -> None:
    """It is counted, and what comes after it is heard."""
    one, two = replicas
    async with two.news.follow("j") as there:
        await one.publish(message)
        one.news.tell(Word("j", "done"))
        assert await _next(there) == Word("j", "done")
    assert two.dropped == {"malformed": 1}


async def test_a_word_that_is_too_long_stays_here(replicas: tuple[Replica, Replica]) -> None:
    """Its followers here hear it, the others miss it."""
    one, two = replicas
    long = Word("j", "tokens", {"text": "x" * MAX_MESSAGE_BYTES})
    async with one.news.follow("j") as here, two.news.follow("j") as there:
        one.news.tell(long)
        one.news.tell(Word("j", "done"))
        assert await _next(here) == long
        assert await _next(there) == Word("j", "done")
    assert one.dropped == {"too_long": 1}


async def test_what_waits_to_be_sent_is_bounded(replicas: tuple[Replica, Replica]) -> None:
    """The oldest words go first."""
    one, two = replicas
    async with two.news.follow("j") as there:
        for number in range(MAX_WAITING_MESSAGES + 10):  # nothing is sent before this loop ends
            one.news.tell(Word("k" if number else "j", "tokens"))
        one.news.tell(Word("j", "done"))
        assert await _next(there) == Word("j", "done")
    assert one.dropped == {"too_many": 11}


async def test_what_waits_to_be_sent_is_bounded_in_bytes(replicas: tuple[Replica, Replica]) -> None:
    """Likewise, although there are few of them."""
    one, two = replicas
    long, many = "x" * (MAX_MESSAGE_BYTES // 2), 2 * MAX_WAITING_BYTES // MAX_MESSAGE_BYTES
    async with two.news.follow("j") as there:
        for number in range(many + 10):
            one.news.tell(Word("k" if number else "j", "tokens", {"text": long}))
        one.news.tell(Word("j", "done"))
        assert one.exchange.waiting_bytes <= MAX_WAITING_BYTES
        assert await _next(there) == Word("j", "done")
    assert set(one.dropped) == {"too_many"}
    assert 10 < one.dropped["too_many"] < 15
    assert one.exchange.waiting_bytes == 0


async def test_an_outage(own_redis: Redis) -> None:
    """What is said during it is dropped and counted; after it both listen again, and look into the queue."""
    async with Replica(own_redis.url, "one").running() as one, Replica(own_redis.url, "two").running() as two:
        own_redis.stop(signal.SIGKILL)
        async with asyncio.timeout(WAIT_S):
            while "redis_away" not in one.dropped or two.link.is_up:
                one.news.tell(Word("j", "running"))
                await asyncio.sleep(0)
        since = two.news.changes
        own_redis.start()
        assert await two.news.wait_for_queue(since, WAIT_S)
        await one.link.wait_until_up()
        async with two.news.follow("j") as there:
            one.news.tell(Word("j", "done"))
            assert await _next(there) == Word("j", "done")


async def test_words_are_plain(replicas: tuple[Replica, Replica]) -> None:
    """What arrives is what JSON keeps."""
    one, two = replicas
    data: dict[str, Any] = {"estimated_wait": 1.5, "served_by": None, "nested": {"a": [1, 2]}}
    async with two.news.follow("j") as there:
        one.news.tell(Word("j", "queued", data))
        assert (await _next(there)).data == data


async def test_a_server_that_speaks_nonsense(babbler: Babbler) -> None:
    """Nothing ends for that: it is listened to again when it makes sense."""
    replica, failed = Replica(babbler.url, "here"), asyncio.Event()
    await replica.link.start()
    replica.link.on_failure = failed.set
    babbler.answer = b":x\r\n"
    replica.exchange.start()
    async with asyncio.timeout(WAIT_S):
        await failed.wait()
    babbler.answer = b"+OK\r\n"
    await replica.link.wait_until_up()
    assert [task.done() for task in replica.exchange._tasks] == [False, False]
    await replica.exchange.stop()
    await replica.link.stop()

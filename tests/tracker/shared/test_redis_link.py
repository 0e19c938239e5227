"""Redis comes and goes; nobody waits for it."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator

import pytest
from gpunode_tracker.rates import Rate
from gpunode_tracker.shared.redis_link import RedisAway, RedisLink
from gpunode_tracker.shared.redis_rate_buckets import RedisRateBuckets

from tests.tracker.redis_server import Redis
from tests.tracker.shared.conftest import PATIENT_S, Babbler

WAIT_S = 60


class Watched:
    """A link that looks often, and the changes that it told of."""

    def __init__(self, url: str, *, timeout_s: float = 0.1) -> None:
        self.link = RedisLink(url, "gpunode:test", timeout_s=timeout_s, watch_interval_s=0.02)
        self.changes: asyncio.Queue[bool] = asyncio.Queue()
        self.failures = 0
        self.link.on_change = self.changes.put_nowait
        self.link.on_failure = self._count

    async def becomes(self, is_up: bool) -> None:
        """Wait until the link has told that it is up, or away; on a loaded machine it may flap on the way there."""
        async with asyncio.timeout(WAIT_S):
            while await self.changes.get() is not is_up:
                pass

    def _count(self) -> None:
        self.failures += 1


@pytest.fixture
async def watched(own_redis: Redis) -> AsyncIterator[Watched]:
    """A started link to a running server."""
    item = Watched(own_redis.url)
    await item.link.start()
    if not item.link.is_up:
        await item.becomes(True)
    yield item
    own_redis.thaw()
    await item.link.stop()


async def _ping(link: RedisLink) -> bool:
    return bool(await link.call(lambda redis: redis.ping()))


async def test_calls_are_answered(link: RedisLink) -> None:
    """While it is up."""
    assert link.is_up
    assert link.problem == ""
    assert await _ping(link)


async def test_away_at_the_start(own_redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """The start does not wait and does not fail; it is said once, and Redis is used as soon as it is there."""
    own_redis.stop(signal.SIGKILL)
    item = Watched(own_redis.url)
    await item.link.start()
    assert not item.link.is_up
    assert item.link.problem
    with pytest.raises(RedisAway):
        await _ping(item.link)
    own_redis.start()
    await item.becomes(True)
    assert [record.event for record in caplog.records] == ["redis_away", "redis_back"]  # type: ignore[attr-defined]  # -- of `extra`
    assert item.link.problem == ""
    await item.link.stop()


async def test_killed_in_the_middle(watched: Watched, own_redis: Redis) -> None:
    """The first call fails, later ones are not even tried; when it is back, calls are answered without a word."""
    own_redis.stop(signal.SIGKILL)
    with pytest.raises(RedisAway):
        await _ping(watched.link)
    await watched.becomes(False)
    tried = watched.failures
    for _ in range(100):
        with pytest.raises(RedisAway):
            await _ping(watched.link)
    assert watched.failures == tried
    own_redis.start()
    await watched.becomes(True)
    await watched.link.wait_until_up()


async def test_a_server_that_hangs(watched: Watched, own_redis: Redis) -> None:
    """Calls under way end after the time-out, later ones at once, and when it goes on it is used again."""
    own_redis.freeze()
    calls = await asyncio.gather(*(_ping(watched.link) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(outcome, RedisAway) for outcome in calls)
    await watched.becomes(False)
    assert "100 ms" in watched.link.problem
    own_redis.thaw()
    await watched.becomes(True)


async def test_nobody_waits_for_a_server_that_hangs(own_redis: Redis) -> None:
    """However many calls come while it hangs, only the first one is tried."""
    item = Watched(own_redis.url, timeout_s=PATIENT_S)
    await item.link.start()
    own_redis.freeze()
    item.link._timeout_s = 0.1
    for _ in range(1_000):
        with pytest.raises(RedisAway):
            await _ping(item.link)
    assert item.failures == 1
    own_redis.thaw()
    await item.link.stop()


async def test_one_slow_answer_is_no_outage(link: RedisLink, caplog: pytest.LogCaptureFixture) -> None:
    """The caller does without it, the probe finds Redis well, and nothing is logged."""
    link.doubt()
    assert not link.is_up
    await link.wait_until_up()
    assert await _ping(link)
    assert caplog.records == []


async def test_a_full_server_is_away(own_redis: Redis) -> None:
    """It answers, but takes nothing: that is said like any other outage."""
    item = Watched(own_redis.url, timeout_s=PATIENT_S)
    await item.link.start()
    await item.link.call(lambda redis: redis.config_set("maxmemory", "1"))
    await item.becomes(False)
    assert "maxmemory" in item.link.problem
    await item.link.stop()


async def test_the_password_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the log nor in the problem."""
    link = RedisLink("redis://:hunter2@127.0.0.1:1/0", "gpunode:test")
    await link.start()
    await link.stop()
    assert link.problem
    assert "hunter2" not in link.problem + caplog.text


async def test_no_warning_while_it_is_well(link: RedisLink, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged."""
    caplog.set_level(logging.DEBUG, "gpunode_tracker")
    assert await _ping(link)
    assert caplog.records == []


NONSENSE = [b":x\r\n", b"$abc\r\n", b"*1\r\n+a\r\n", b"_\r\n", b"%1\r\n*0\r\n+b\r\n", b"$-5\r\n"]


@pytest.mark.parametrize("answer", NONSENSE)
async def test_a_server_that_speaks_nonsense(babbler: Babbler, answer: bytes) -> None:
    """Whatever redis-py makes of it: callers do without it, and it is used again when it makes sense."""
    item = Watched(babbler.url, timeout_s=PATIENT_S)
    await item.link.start()
    babbler.answer = answer
    with pytest.raises(RedisAway):
        await RedisRateBuckets(item.link).take("budget", "holder", Rate(per_minute=60, burst=60))
    babbler.answer = b"+OK\r\n"
    await item.link.wait_until_up()
    await item.link.stop()

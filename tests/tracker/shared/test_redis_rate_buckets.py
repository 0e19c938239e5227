"""The contract of rate buckets, on both stores, and what is particular to Redis."""

import asyncio
import random

import pytest
from gpunode_tracker.rate_buckets import MemoryRateBuckets, RateBuckets
from gpunode_tracker.rates import Rate
from gpunode_tracker.shared.redis_link import RedisAway, RedisLink
from gpunode_tracker.shared.redis_rate_buckets import RedisRateBuckets

from tests.tracker.parties import TestClock

SLOW = Rate(per_minute=1, burst=2)
"""Its keys live for minutes, while the tests' clock stands still."""


@pytest.fixture(params=["memory", "redis"])
def buckets(request: pytest.FixtureRequest, clock: TestClock) -> RateBuckets:
    """Each store, counting by the tests' clock."""
    if request.param == "memory":
        return MemoryRateBuckets(clock)
    return RedisRateBuckets(request.getfixturevalue("link"), clock)


async def _served(buckets: RateBuckets, holder: str, times: int, budget: str = "a") -> int:
    return sum([(await buckets.take(budget, holder, SLOW)).allowed for _ in range(times)])


async def test_holders_and_budgets_count_apart(buckets: RateBuckets, clock: TestClock) -> None:
    """What one has used up is there for the other, and comes back with time."""
    assert await _served(buckets, "me", 5) == 2
    assert await _served(buckets, "you", 5) == 2
    assert await _served(buckets, "me", 5, budget="b") == 2
    clock.advance(60)
    assert await _served(buckets, "me", 5) == 1


async def test_looking_takes_nothing(buckets: RateBuckets) -> None:
    """Cost 0 says whether one would be allowed."""
    for _ in range(5):
        assert (await buckets.take("a", "me", SLOW, 0)).allowed
    assert await _served(buckets, "me", 5) == 2
    assert not (await buckets.take("a", "me", SLOW, 0)).allowed


async def test_a_refusal_says_when_to_come_back(buckets: RateBuckets, clock: TestClock) -> None:
    """Exactly then it is allowed, and not a moment earlier."""
    await _served(buckets, "me", 2)
    refused = await buckets.take("a", "me", SLOW)
    assert (refused.allowed, refused.remaining) == (False, 0)
    clock.advance(refused.retry_after_s - 0.5)
    assert not (await buckets.take("a", "me", SLOW)).allowed
    clock.advance(0.5)
    assert (await buckets.take("a", "me", SLOW)).allowed


async def test_names_may_be_anything(buckets: RateBuckets) -> None:
    """Ledger names, addresses, and what came in a header."""
    for holder in ("account:a", "2001:db8::/64", "a b\r\nc", "\udcff", "ü" * 200):
        assert await _served(buckets, holder, 3) == 2


async def test_calls_at_once_do_not_share_a_unit(buckets: RateBuckets) -> None:
    """Of a hundred at the same moment as many are served as the bucket holds."""
    decisions = await asyncio.gather(*(buckets.take("a", "me", Rate(per_minute=1, burst=10)) for _ in range(100)))
    assert sum(decision.allowed for decision in decisions) == 10


async def test_both_decide_alike(link: RedisLink, clock: TestClock) -> None:
    """The same calls at the same times get the same answers, to the last digit."""
    draw = random.Random(8)
    memory, redis = MemoryRateBuckets(clock), RedisRateBuckets(link, clock)
    rates = [Rate(per_minute=7, burst=3), Rate(per_minute=90, burst=30), Rate(per_minute=1, burst=1)]
    for _ in range(500):
        call = (f"b{draw.randrange(3)}", f"h{draw.randrange(4)}", draw.choice(rates), draw.choice([0, 1, 1, 2, 50]))
        assert await redis.take(*call) == await memory.take(*call)
        clock.advance(draw.choice([0, 0.1, 1, 7.3]))


async def test_replicas_share(link: RedisLink) -> None:
    """Two stores on one Redis are one, by the server's clock."""
    first, second = RedisRateBuckets(link), RedisRateBuckets(link)
    assert [(await store.take("a", "me", SLOW)).allowed for store in (first, second, first, second)] == [
        True,
        True,
        False,
        False,
    ]


async def test_every_key_ends(link: RedisLink) -> None:
    """When its bucket is full; a flood of names leaves nothing behind."""
    buckets = RedisRateBuckets(link)
    for number in range(20):
        await buckets.take("a", f"holder-{number}", SLOW)
    keys = await link.call(lambda redis: redis.keys(f"{link.prefix}:rate:*"))
    lives = [await link.call(lambda redis, key=key: redis.pttl(key)) for key in keys]
    assert len(lives) == 20
    assert all(0 < life <= 60_001 for life in lives)


async def test_networks_count_apart(link: RedisLink) -> None:
    """Trackers of two networks may use one Redis."""
    buckets = RedisRateBuckets(link)
    assert await _served(buckets, "me", 3) == 2
    link.prefix = "gpunode:other"
    assert await _served(buckets, "me", 3) == 2


async def test_nothing_is_decided_without_redis(link: RedisLink) -> None:
    """The caller has to know."""
    await link.stop()
    with pytest.raises(RedisAway):
        await RedisRateBuckets(link).take("a", "me", SLOW)

"""Rates while Redis comes and goes."""

import pytest
from gpunode_tracker.rate_buckets import MemoryRateBuckets
from gpunode_tracker.rates import Decision, Rate
from gpunode_tracker.shared.fallback_rate_buckets import FallbackRateBuckets
from gpunode_tracker.shared.redis_link import RedisAway

from tests.tracker.parties import TestClock

RATE = Rate(per_minute=1, burst=3)


class _Store:
    """A shared store that can be away."""

    def __init__(self, clock: TestClock) -> None:
        self.buckets = MemoryRateBuckets(clock)
        self.is_away = False

    async def take(self, budget: str, holder: str, rate: Rate, cost: int = 1) -> Decision:
        """See ``RateBuckets``."""
        if self.is_away:
            raise RedisAway
        return await self.buckets.take(budget, holder, rate, cost)


@pytest.fixture
def store(clock: TestClock) -> _Store:
    """What the replicas share."""
    return _Store(clock)


async def _served(buckets: FallbackRateBuckets, times: int) -> int:
    return sum([(await buckets.take("a", "me", RATE)).allowed for _ in range(times)])


async def test_the_shared_store_decides(store: _Store, clock: TestClock) -> None:
    """What another replica served counts."""
    first = FallbackRateBuckets(store, MemoryRateBuckets(clock))
    second = FallbackRateBuckets(store, MemoryRateBuckets(clock))
    assert await _served(first, 2) == 2
    assert await _served(second, 2) == 1


async def test_without_it_the_process_counts_alone(store: _Store, clock: TestClock) -> None:
    """Requests are served and limited."""
    buckets = FallbackRateBuckets(store, MemoryRateBuckets(clock))
    store.is_away = True
    assert await _served(buckets, 5) == 3


async def test_an_outage_forgives_nothing(store: _Store, clock: TestClock) -> None:
    """What was used up here before is used up during it; looking and refusals cost nothing."""
    buckets = FallbackRateBuckets(store, MemoryRateBuckets(clock))
    assert await _served(buckets, 2) == 2
    assert (await buckets.take("a", "me", RATE, 0)).allowed
    store.is_away = True
    assert await _served(buckets, 5) == 1
    store.is_away = False
    assert await _served(buckets, 5) == 1

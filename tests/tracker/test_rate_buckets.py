"""Where buckets are kept."""

import pytest
from gpunode_tracker.rate_buckets import MemoryRateBuckets
from gpunode_tracker.rates import Rate

from tests.tracker.parties import TestClock

RATE = Rate(per_minute=60, burst=2)


@pytest.fixture
def buckets(clock: TestClock) -> MemoryRateBuckets:
    """Small tables."""
    return MemoryRateBuckets(clock, table_buckets=100, shared_buckets=4)


async def _served(buckets: MemoryRateBuckets, holder: str, times: int, budget: str = "a") -> int:
    return sum([(await buckets.take(budget, holder, RATE)).allowed for _ in range(times)])


async def test_holders_and_budgets_count_apart(buckets: MemoryRateBuckets, clock: TestClock) -> None:
    """What one has used up is there for the other, and comes back with time."""
    assert await _served(buckets, "me", 5) == 2
    assert await _served(buckets, "you", 5) == 2
    assert await _served(buckets, "me", 5, budget="b") == 2
    clock.advance(1)
    assert await _served(buckets, "me", 5) == 1


async def test_full_buckets_are_forgotten(buckets: MemoryRateBuckets, clock: TestClock) -> None:
    """Looking keeps nothing, and a bucket that has filled up makes room."""
    await buckets.take("a", "looked", RATE, 0)
    assert len(buckets) == 0
    for number in range(100):
        await buckets.take("a", f"first-{number}", RATE)
    clock.advance(1)
    for number in range(100):
        await buckets.take("a", f"second-{number}", RATE)
    assert len(buckets) == 100


async def test_memory_is_bounded(buckets: MemoryRateBuckets) -> None:
    """Any number of addresses takes no more than the table and the shared buckets."""
    for number in range(10_000):
        await buckets.take("a", f"address-{number}", RATE)
    assert len(buckets) <= 104


async def test_a_flood_of_addresses_resets_nothing(buckets: MemoryRateBuckets) -> None:
    """What an address has used up stays so, however many others come after it."""
    assert await _served(buckets, "me", 5) == 2
    for number in range(10_000):
        await buckets.take("a", f"address-{number}", RATE)
    assert await _served(buckets, "me", 5) == 0


async def test_newcomers_share_until_there_is_room(buckets: MemoryRateBuckets, clock: TestClock) -> None:
    """Together they get no more than the shared buckets hold; other budgets do not notice."""
    for number in range(100):
        await buckets.take("a", f"address-{number}", RATE)
    served = sum([await _served(buckets, f"new-{number}", 1) for number in range(1_000)])
    assert served <= 4 * 2
    assert await _served(buckets, "new-1", 1, budget="b") == 1
    clock.advance(60)
    assert await _served(buckets, "new-1", 5) == 2


async def test_a_look_at_a_bucket_that_nobody_uses(buckets: MemoryRateBuckets) -> None:
    """It is full; one that somebody has taken from is not, nor is a shared one of a full table."""
    full = await buckets.take("a", "new", RATE, 0)
    assert (full.allowed, full.remaining, full.retry_after_s, full.full_after_s) == (True, RATE.burst, 0, 0)
    await buckets.take("a", "new", RATE)
    assert (await buckets.take("a", "new", RATE, 0)).remaining == RATE.burst - 1
    for number in range(1_000):
        await buckets.take("a", f"other-{number}", RATE, RATE.burst)
    assert not (await buckets.take("a", "newcomer", RATE, 0)).allowed

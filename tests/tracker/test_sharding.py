"""How many shards there are."""

import hashlib
from collections import Counter

import pytest
from gpunode_protocol.dht_keys import MAX_SHARD_BITS, shard_of
from gpunode_protocol.identity import PeerId
from gpunode_tracker.sharding import MAX_ADVERTS, OVERLAP_S, TARGET_ADVERTS, Sharding, bits_for

NOW = 1_750_000_000


def peers(count: int) -> list[str]:
    """Return so many different peer ids."""
    return [f"12D3KooW{hashlib.sha256(str(number).encode()).hexdigest()}" for number in range(count)]


@pytest.mark.parametrize(("count", "bits"), [(0, 0), (64, 0), (65, 2), (300, 4), (1_000, 5), (5_000, 8)])
def test_a_region_that_grows_gets_shards(count: int, bits: int) -> None:
    """None while one key holds all; then as few as bring the average to 32, and no shard is beyond what stores keep."""
    assert bits_for([peers(count), peers(3)], 0) == bits
    assert count <= TARGET_ADVERTS << bits or bits == 0
    shards = Counter(shard_of(PeerId(peer), bits) for peer in peers(count))
    assert max(shards.values(), default=0) <= MAX_ADVERTS


@pytest.mark.parametrize(("count", "bits"), [(63, 1), (32, 1), (31, 0), (0, 0)])
def test_a_region_that_shrinks_loses_them_late(count: int, bits: int) -> None:
    """Not at the size at which it got them: else a node that comes and goes would move everything each time."""
    assert bits_for([peers(64)], 2) == 2
    assert bits_for([peers(count)], bits_for([peers(63)], 2)) == bits


def test_the_number_of_bits_is_bounded() -> None:
    """Whatever the tracker's index holds."""

    class _Many(list[str]):
        def __len__(self) -> int:
            return TARGET_ADVERTS << 20

    assert bits_for([_Many(peers(65))], 0) == MAX_SHARD_BITS


def test_a_change_is_published_with_the_count_before_it() -> None:
    """For five minutes, in which nothing changes again."""
    small = Sharding(changed_at=NOW)
    assert small.reconsidered([peers(100)], NOW + OVERLAP_S - 1) is small
    assert small.reconsidered([peers(64)], NOW + OVERLAP_S) is small
    large = small.reconsidered([peers(100)], NOW + OVERLAP_S)
    assert (large.bits, large.previous, large.changed_at) == (2, 0, NOW + OVERLAP_S)
    assert large.previous_at(NOW + 2 * OVERLAP_S - 1) == 0
    assert large.previous_at(NOW + 2 * OVERLAP_S) is None
    assert large.reconsidered([], NOW + 2 * OVERLAP_S - 1) is large
    assert large.reconsidered([], NOW + 2 * OVERLAP_S).bits == 0


def test_a_restart_goes_on_with_what_was_kept() -> None:
    """An index that is still empty changes nothing; a change of before is still told if it is young."""
    kept = Sharding(bits=3, previous=2, changed_at=NOW).to_json()
    young, old = Sharding.from_json(kept, now=NOW + 10), Sharding.from_json(kept, now=NOW + OVERLAP_S)
    assert (young.bits, young.previous_at(NOW + 10)) == (3, 2)
    assert (old.bits, old.previous_at(NOW + OVERLAP_S)) == (3, None)
    assert young.reconsidered([], NOW + 10 + OVERLAP_S - 1) is young
    assert Sharding.from_json(None, now=NOW) == Sharding(bits=0, previous=None, changed_at=NOW)


def test_a_change_by_another_replica_is_taken_over() -> None:
    """With its instant; what is older, or the same, changes nothing."""
    mine = Sharding(bits=1, previous=None, changed_at=NOW)
    other = Sharding(bits=3, previous=1, changed_at=NOW + 5)
    assert mine.or_newer(other.to_json()) == other
    assert other.or_newer(mine.to_json()) is other
    assert mine.or_newer(Sharding(bits=1, changed_at=NOW + 9).to_json()) is mine
    assert mine.or_newer(None) is mine

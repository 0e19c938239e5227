"""What is being worked on."""

from contextlib import ExitStack

import pytest
from gpunode_tracker.errors import Overloaded, TooManyRequests
from gpunode_tracker.in_flight import InFlight
from gpunode_tracker.limits import MIB, Limits

LIMITS = Limits(requests_per_address=2, large_body_bytes_per_address=2 * MIB, large_body_bytes=3 * MIB)


def test_requests_of_one_address() -> None:
    """No more than the limit at once; what ends makes room, and leaves nothing behind."""
    counts = InFlight(LIMITS)
    with counts.visit("a"):
        with counts.visit("a"):
            with pytest.raises(TooManyRequests) as caught, counts.visit("a"):
                pass
            assert caught.value.reason == "requests_in_flight"
            with counts.visit("b"):
                assert len(counts) == 2
        with counts.visit("a"):
            pass
    assert len(counts) == 0


def test_who_only_waits_is_not_counted() -> None:
    """Long polls are only connections; afterwards they count again."""
    counts = InFlight(LIMITS)
    with counts.visit("a") as visit:
        with visit.waiting():
            assert (len(counts), counts.waiting.total) == (0, 1)
            with counts.visit("a"), counts.visit("a"):
                pass
        assert len(counts) == 1
    assert len(counts) == 0


def test_no_more_wait_than_an_address_may_have_connections() -> None:
    """Also where a proxy brings them, whose own connections are not counted by address."""
    counts = InFlight(Limits(connections_per_address=2))
    with ExitStack() as all_of_them:
        for _ in range(2):
            all_of_them.enter_context(all_of_them.enter_context(counts.visit("a")).waiting())
        with counts.visit("a") as visit, pytest.raises(TooManyRequests) as caught, visit.waiting():
            pass
        assert caught.value.reason == "waiting_requests"
        with counts.visit("b") as other, other.waiting():
            assert counts.waiting.total == 3
    assert counts.waiting.total == 0
    with counts.visit("a") as later, later.waiting():
        pass


def test_room_to_wait_is_taken_before_there_is_something_to_wait_for() -> None:
    """Whoever has it waits without being refused, and it is free again at the request's end."""
    counts = InFlight(Limits(connections_per_address=1))
    with counts.visit("a") as first, counts.visit("a") as second:
        first.will_wait()
        first.will_wait()
        with pytest.raises(TooManyRequests):
            second.will_wait()
        with first.waiting():
            pass
        assert counts.waiting.total == 1
    assert counts.waiting.total == 0


def test_memory_that_is_free_before_the_end() -> None:
    """A body that was dealt with is not in memory any more, although its request goes on; once is enough."""
    counts = InFlight(LIMITS)
    with counts.visit("a") as visit:
        visit.hold(2 * MIB)
        visit.free()
        visit.free()
        with counts.visit("a") as other:
            other.hold(2 * MIB)
    assert len(counts) == 0


def test_memory_for_large_bodies() -> None:
    """Limited by address and in all, and free again at the request's end, also where it failed."""
    counts = InFlight(LIMITS)
    with ExitStack() as first:
        visit = first.enter_context(counts.visit("a"))
        visit.hold(MIB)
        visit.hold(MIB)
        with pytest.raises(TooManyRequests, match="large bodies from your address"):
            visit.hold(1)
        with counts.visit("b") as other:
            other.hold(MIB)
            with pytest.raises(Overloaded) as caught:
                other.hold(1)
            assert caught.value.retry_after_s > 0
    with pytest.raises(TooManyRequests), counts.visit("a") as failing:
        failing.hold(3 * MIB)
    assert len(counts) == 0
    with counts.visit("b") as later:
        later.hold(2 * MIB)

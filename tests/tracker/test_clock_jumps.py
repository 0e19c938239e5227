"""A clock that is set."""

from gpunode_tracker.clock_jumps import JUMP_S, ClockJumps

from tests.tracker.parties import TestClock


def test_time_that_passes_is_no_jump() -> None:
    """Nor is a clock that is corrected a little."""
    clock, monotonic = TestClock(), TestClock(0)
    jumps = ClockJumps(clock, monotonic)
    for ahead_s in (0, JUMP_S, -JUMP_S):
        clock.advance(3_600 + ahead_s)
        monotonic.advance(3_600)
        assert not jumps.seen()
        clock.advance(-ahead_s)


def test_a_jump_is_seen_once() -> None:
    """Forwards, and back."""
    clock, monotonic = TestClock(), TestClock(0)
    jumps = ClockJumps(clock, monotonic)
    for jump_s in (3_600, -3_600, JUMP_S + 1):
        clock.advance(jump_s)
        assert [jumps.seen(), jumps.seen()] == [True, False]

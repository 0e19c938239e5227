"""Rates: what one bucket says."""

import pytest
from gpunode_tracker.rates import Rate, decide
from hypothesis import given
from hypothesis import strategies as st

RATE = Rate(per_minute=60, burst=3)


def test_a_burst_then_one_at_a_time() -> None:
    """Three at once, then one a second; the refusal says when, and asking in between changes nothing."""
    full_at = 0.0
    for left in (2, 1, 0):
        full_at, decision = decide(RATE, full_at, 100.0, 1)
        assert (decision.allowed, decision.remaining, decision.retry_after_s) == (True, left, 0)
    for _ in range(5):
        full_at, decision = decide(RATE, full_at, 100.25, 1)
        assert (decision.allowed, decision.remaining) == (False, 0)
        assert decision.retry_after_s == pytest.approx(0.75)
        assert decision.full_after_s == pytest.approx(2.75)
    assert decide(RATE, full_at, 101.0, 1)[1].allowed


def test_looking_takes_nothing() -> None:
    """Cost 0 says whether one would be allowed."""
    full_at, decision = decide(RATE, 0.0, 100.0, 0)
    assert (full_at, decision.allowed, decision.remaining) == (100.0, True, 3)
    full_at, _ = decide(RATE, 0.0, 100.0, 3)
    full_at, decision = decide(RATE, full_at, 100.0, 0)
    assert (decision.allowed, decision.retry_after_s) == (False, 1)


def test_more_than_a_bucket_holds_takes_all_of_it() -> None:
    """So that a dear request can be served at all."""
    full_at, decision = decide(RATE, 0.0, 100.0, 50)
    assert (decision.allowed, decision.remaining) == (True, 0)
    assert not decide(RATE, full_at, 102.9, 50)[1].allowed
    assert decide(RATE, full_at, 103.0, 50)[1].allowed


@given(
    st.integers(1, 6_000),
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 4)), max_size=80),
)
def test_no_more_than_burst_and_rate(per_minute: int, burst: int, steps: list[tuple[float, int]]) -> None:
    """Whatever comes when: from the first request on, no more is served than a burst and what has flowed in."""
    rate = Rate(per_minute=per_minute, burst=burst)
    now, full_at, served = 1_000.0, 0.0, 0
    for pause_s, cost in steps:
        now += pause_s
        full_at, decision = decide(rate, full_at, now, cost)
        served += min(cost, burst) * decision.allowed
        assert served <= burst + (now - 1_000.0) * per_minute / 60 + 1e-3
        assert 0 <= decision.remaining <= burst
        if not decision.allowed:
            assert decide(rate, full_at, now + decision.retry_after_s, cost)[1].allowed


@pytest.mark.parametrize(("per_minute", "burst", "window_s"), [(90, 30, 20), (120_000, 10_000, 5), (600, 1, 1)])
def test_the_window_of_a_rate(per_minute: int, burst: int, window_s: int) -> None:
    """It is how long an empty bucket takes to fill."""
    assert Rate(per_minute=per_minute, burst=burst).window_s == window_s

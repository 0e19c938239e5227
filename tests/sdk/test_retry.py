from random import Random

import pytest
from gpunode._retry import Patience, delay_s, read_retry_after


def test_delays_double_up_to_two_seconds_with_jitter() -> None:
    """Up to half as much again, never less."""
    for attempt, base in enumerate((0.2, 0.4, 0.8, 1.6, 2.0, 2.0)):
        assert all(base <= delay_s(attempt, Random(seed)) <= base * 1.5 for seed in range(20))
    assert delay_s(10_000, Random(1)) <= 3.0


def test_failures_are_counted() -> None:
    """Three attempts have two pauses; a tracker that names a longer one gets that."""
    patience = Patience(3, Random(1))
    assert 0.2 <= (patience.after_failure() or 0) <= 0.3
    assert patience.after_failure(4) == 4
    assert patience.after_failure() is None


def test_limits_cost_time_only() -> None:
    """Whoever is asked to wait a second waits a little more, again and again, but not for longer than half a minute."""
    patience = Patience(3, Random(1), patience_s=30)
    pauses = []
    while (pause := patience.after_limit(1)) is not None:
        pauses.append(pause)
    assert all(1 <= pause <= 1.5 for pause in pauses)
    assert 20 <= len(pauses) <= 30
    assert sum(pauses) <= 30
    assert 0.2 <= (Patience(3, Random(1)).after_limit() or 0) <= 0.3


def test_too_long_a_wait_is_not_begun() -> None:
    """Who is told to come back in a minute is told so at once; so is who wants one attempt only."""
    assert Patience(3, Random(1)).after_limit(60) is None
    assert Patience(3, Random(1)).after_failure(60) is None
    assert Patience(1, Random(1)).after_limit(1) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("5", 5), (" 0 ", 0), (None, None), ("", None), ("-1", None), ("Wed, 21 Oct 2026", None), ("9" * 10, None)],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Whole seconds count; dates and nonsense do not."""
    assert read_retry_after(header) == seconds

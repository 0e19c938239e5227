import pytest
from gpunode_benchmarks.lab.pacing import PERIOD_S, Pacing


def test_a_slowed_host_runs_its_share_of_each_period() -> None:
    """Over many periods, stopped and continued in turn."""
    pacing = Pacing()
    pacing.slow("here", 0.25, 0.0)
    now, runs, ran_s = 0.0, True, 0.0
    for _ in range(200):
        due_at = pacing.next_due_at
        assert due_at is not None
        ran_s += (due_at - now) * runs
        now = due_at
        [(host, runs_next)] = pacing.due(now)
        assert (host, runs_next) == ("here", not runs)
        runs = runs_next
    assert ran_s / now == pytest.approx(0.25)
    assert now == pytest.approx(100 * PERIOD_S)


def test_nothing_is_due_before_its_time() -> None:
    """A host that was just slowed still runs."""
    pacing = Pacing()
    pacing.slow("here", 0.5, 10.0)
    assert list(pacing.due(10.0)) == []


def test_a_late_turn_is_not_made_up_for() -> None:
    """Otherwise a host would be stopped and continued many times at once."""
    pacing = Pacing()
    pacing.slow("here", 0.5, 0.0)
    assert list(pacing.due(100.0)) == [("here", False)]
    assert list(pacing.due(100.0)) == []


def test_a_forgotten_host_is_left_alone() -> None:
    """Also one that never was slowed."""
    pacing = Pacing()
    pacing.slow("here", 0.5, 0.0)
    pacing.forget("here")
    pacing.forget("there")
    assert pacing.next_due_at is None
    assert list(pacing.due(100.0)) == []

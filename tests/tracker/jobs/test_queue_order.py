"""Priority, then age, with aging."""

from gpunode_tracker.jobs.queue_order import AGING_MS, rank_of
from hypothesis import given
from hypothesis import strategies as st

PRIORITIES = st.integers(0, 9)
INSTANTS_MS = st.integers(0, 2**42)


@given(PRIORITIES, INSTANTS_MS, st.integers(1, 2**40))
def test_of_one_priority_the_older_goes_first(priority: int, at_ms: int, later_ms: int) -> None:
    """Always."""
    assert rank_of(priority, at_ms) < rank_of(priority, at_ms + later_ms)


@given(st.integers(0, 8), INSTANTS_MS, st.integers(0, AGING_MS - 1))
def test_a_higher_priority_goes_before_what_is_not_much_older(priority: int, at_ms: int, later_ms: int) -> None:
    """Of two that came within the time that a step is worth."""
    assert rank_of(priority + 1, at_ms + later_ms) < rank_of(priority, at_ms)


@given(PRIORITIES, PRIORITIES, INSTANTS_MS)
def test_nothing_starves(low: int, high: int, at_ms: int) -> None:
    """Whatever comes three quarters of an hour later goes behind, and no priority changes that."""
    assert rank_of(low, at_ms) < rank_of(high, at_ms + 9 * AGING_MS + 1)

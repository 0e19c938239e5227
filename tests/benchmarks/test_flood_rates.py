from itertools import pairwise

import pytest
from gpunode_benchmarks.flood_rates import Arrival, Span, rate_per_s, rates_kept, recovery_s, within
from hypothesis import given
from hypothesis import strategies as st


def _every(interval_s: float, begin_s: float, end_s: float) -> list[Arrival]:
    count = round((end_s - begin_s) / interval_s)
    return [Arrival(begin_s + number * interval_s, 1.0) for number in range(count)]


def test_a_span_has_its_begin_and_not_its_end() -> None:
    """A token at a border counts once."""
    arrivals = [Arrival(at_s, 1.0) for at_s in (0.0, 1.0, 2.0)]
    assert [arrival.at_s for arrival in within(arrivals, Span(0.0, 1.0))] == [0.0]
    assert [arrival.at_s for arrival in within(arrivals, Span(1.0, 2.5))] == [1.0, 2.0]
    assert within(arrivals, Span(3.0, 4.0)) == []


@given(st.lists(st.floats(0, 10)), st.lists(st.floats(0, 10), max_size=5))
def test_neighbouring_spans_share_all_tokens(times: list[float], cuts: list[float]) -> None:
    """However time is divided, each token counts exactly once."""
    arrivals = [Arrival(at_s, 1.0) for at_s in sorted(times)]
    borders = [0.0, *sorted(cuts), 10.5]
    spans = [Span(begin, end) for begin, end in pairwise(borders)]
    assert sum(len(within(arrivals, span)) for span in spans) == len(arrivals)


def test_rates_are_shares_of_the_rate_before() -> None:
    """Spans of different lengths are compared by the second."""
    arrivals = [*_every(0.125, 0.0, 4.0), *_every(0.25, 4.0, 6.0), *_every(0.125, 6.0, 7.0)]
    before = Span(0.0, 4.0)
    assert rate_per_s(arrivals, before) == 8.0
    phases = {"opening": Span(4.0, 6.0), "held": Span(6.0, 7.0), "silent": Span(8.0, 9.0)}
    assert rates_kept(arrivals, before, phases) == {"opening": 0.5, "held": 1.0, "silent": 0.0}


def test_nothing_can_be_kept_of_nothing() -> None:
    """A share of a rate of zero is no figure."""
    with pytest.raises(ValueError, match="No token"):
        rates_kept([], Span(0.0, 1.0), {"held": Span(1.0, 2.0)})


def test_recovery_begins_with_the_first_whole_second_that_is_fast_enough() -> None:
    """At once, after a silence, or never within what was seen."""
    after = Span(10.0, 20.0)
    usual = _every(0.01, 10.0, 20.0)
    late = _every(0.01, 13.0, 20.0)
    slow = _every(0.02, 10.0, 20.0)
    assert recovery_s(usual, 100.0, after) == 0.0
    found = recovery_s(late, 100.0, after)
    assert found is not None
    assert 2.9 <= found <= 3.0
    assert recovery_s(slow, 100.0, after) is None

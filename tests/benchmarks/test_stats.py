import pytest
from gpunode_benchmarks.stats import lag_summary, latency_summary, median, pair_ratios, percentile, spread_summary
from hypothesis import given
from hypothesis import strategies as st

_VALUES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1)


@pytest.mark.parametrize(
    ("values", "expected"), [([3.0], 3.0), ([4.0, 1.0, 2.0], 2.0), ([1.0, 2.0, 3.0, 4.0], 2.5)], ids=str
)
def test_the_median_is_the_middle_one_or_between_two(values: list[float], expected: float) -> None:
    """Order does not matter; an even number has its median between the two in the middle."""
    assert median(values) == expected


@pytest.mark.parametrize(("percent", "expected"), [(0, 10.0), (25, 17.5), (95, 38.5), (100, 40.0)])
def test_a_percentile_lies_between_its_neighbours(percent: float, expected: float) -> None:
    """The values that numpy.percentile gives for 10, 20, 30, 40."""
    assert percentile([40.0, 10.0, 30.0, 20.0], percent) == pytest.approx(expected)


@given(_VALUES, st.floats(min_value=0, max_value=100))
def test_a_percentile_stays_within_the_values(values: list[float], percent: float) -> None:
    """Rounding never leads beyond the smallest and the largest value."""
    assert min(values) <= percentile(values, percent) <= max(values)


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)], ids=str)
def test_what_has_no_percentile_is_refused(values: list[float], percent: float) -> None:
    """No values, or a percentage out of range, is an error and not a number."""
    with pytest.raises(ValueError, match="No percentile"):
        percentile(values, percent)


def test_ratios_are_taken_pair_by_pair() -> None:
    """Each round is compared with itself, not with the others' mean."""
    assert pair_ratios([2.0, 9.0], [4.0, 3.0]) == (0.5, 3.0)


def test_pairs_must_be_complete() -> None:
    """A run without its counterpart is an error."""
    with pytest.raises(ValueError, match="shorter"):
        pair_ratios([1.0, 2.0], [1.0])


def test_a_ratio_needs_a_denominator() -> None:
    """A side that did nothing has no ratio."""
    with pytest.raises(ValueError, match="above 0"):
        pair_ratios([1.0], [0.0])


def test_durations_are_summed_up_by_median_and_tail() -> None:
    """Latency is reported with its 95th percentile."""
    assert latency_summary([float(value) for value in range(101)]) == {"median": 50.0, "p95": 95.0}


def test_few_values_are_summed_up_by_their_middle_half() -> None:
    """Six ratios have no meaningful tail, and their extremes would grow with their number."""
    assert spread_summary([5.0, 1.0, 4.0, 2.0, 3.0]) == {"median": 3.0, "p25": 2.0, "p75": 4.0}


def test_lags_are_many_so_their_last_percent_is_shown() -> None:
    """Median and 99th percentile."""
    assert lag_summary([float(number) for number in range(101)]) == {"median": 50.0, "p99": 99.0}

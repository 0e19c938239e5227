import math

import pytest
from gpunode._reading import MAX_OVERHEAD_MS, MAX_SAMPLES, Sample, reading_of
from hypothesis import given
from hypothesis import strategies as st

PER_S = 2_000.0
"""As advertised: half a ms a unit."""


def _samples(*units: int, overhead_ms: float = 40.0, unit_ms: float = 0.5) -> list[Sample]:
    return [Sample(known, overhead_ms + unit_ms * known) for known in units]


def _expected(samples: list[Sample], units: int, advertised_per_s: float = PER_S) -> float:
    reading = reading_of(samples)
    assert reading is not None
    return reading.expected_ms(units, advertised_per_s)


def test_a_job_without_an_input_tells_nothing() -> None:
    """Nor one that began at once."""
    assert reading_of([Sample(0, 100.0), Sample(10, 0.0)]) is None


def test_a_short_input_does_not_make_a_node_slow() -> None:
    """What every job costs is not held against the long ones: 60 ms for 40 units are no 1.5 ms a unit."""
    assert _expected(_samples(40), 40) == pytest.approx(60)
    assert _expected(_samples(40), 1_000) == pytest.approx(540)


def test_different_inputs_tell_what_a_unit_takes() -> None:
    """Whatever the advert says."""
    assert _expected(_samples(50, 1_000, unit_ms=2), 500) == pytest.approx(1_040)
    assert _expected(_samples(50, 1_000, unit_ms=0.1), 500) == pytest.approx(90)


def test_similar_inputs_do_not() -> None:
    """A few ms more or less would make a slope of anything."""
    assert _expected([Sample(100, 90.0), Sample(110, 110.0)], 1_000) == pytest.approx(547.5)


def test_a_claim_that_what_was_measured_contradicts_is_not_believed() -> None:
    """Nothing but reading takes so long, so long inputs take longer still."""
    assert _expected([Sample(100, 2_000.0)], 1_000) == pytest.approx(MAX_OVERHEAD_MS + 10 * (2_000 - MAX_OVERHEAD_MS))


def test_a_node_that_is_faster_than_it_says_is_believed() -> None:
    """And a node that says nothing is taken as it was seen."""
    assert _expected([Sample(100, 10.0)], 1_000) == pytest.approx(100)
    assert _expected([Sample(100, 50.0)], 1_000, 0.0) == pytest.approx(500)


def test_one_job_that_had_to_wait_says_little() -> None:
    """Somebody else came between."""
    samples = [*_samples(50, 300, 600, 900), Sample(400, 1_000.0)]
    assert _expected(samples, 400) == pytest.approx(240, abs=5)


def test_only_the_last_jobs_count() -> None:
    """A home PC does other things, too."""
    assert _expected([Sample(100, 9_000.0), *[Sample(100, 90.0)] * MAX_SAMPLES], 100) == pytest.approx(90)


@given(
    st.lists(st.builds(Sample, st.integers(1, 10**6), st.floats(0.001, 1e7)), min_size=1, max_size=16),
    st.integers(0, 10**6),
    st.floats(0, 1e6),
)
def test_whatever_was_measured_can_be_reckoned_with(samples: list[Sample], units: int, advertised_per_s: float) -> None:
    """And a longer input never takes less time."""
    expected_ms = _expected(samples, units, advertised_per_s)
    assert 0 <= expected_ms < math.inf
    assert _expected(samples, 2 * units, advertised_per_s) >= expected_ms

import math

from gpunode._observed import MAX_SLOWDOWN, NOTHING_OBSERVED, Timing, observed_of
from gpunode._reading import Sample, reading_of
from hypothesis import given
from hypothesis import strategies as st


def _job(load: float = 0.0, *, input_units: int = 100, prefill_ms: float = 200, decode_ms: float = 1000) -> Timing:
    return Timing(0.0, load, input_units, prefill_ms, output_units=50, decode_ms=decode_ms)


def test_nothing_is_known_of_a_node_that_did_nothing() -> None:
    """Then its advert is all there is."""
    assert observed_of([], [], None) == NOTHING_OBSERVED


def test_speeds_are_those_of_jobs_alone_on_the_node() -> None:
    """One job tells both; of several outputs the middle one counts."""
    known = observed_of([_job()], [True], 30.0)
    assert (known.reading, known.output_units_per_s, known.rtt_ms) == (reading_of([Sample(100, 200)]), 50, 30)
    jobs = [_job(), _job(decode_ms=100_000), _job(input_units=900, prefill_ms=300)]
    assert observed_of(jobs, [], None).output_units_per_s == 50
    assert observed_of([_job(0.5, prefill_ms=380)], [], None).reading == reading_of([Sample(100, 200)])


def test_how_much_others_slow_a_job_down_is_learned_from_jobs_at_different_loads() -> None:
    """Until then the usual share is taken out of what was measured under load."""
    known = observed_of([_job(), _job(0.5, decode_ms=1500), _job(0.75, decode_ms=1750)], [], None)
    assert round(known.slowdown or 0, 6) == 1
    assert round(known.output_units_per_s or 0, 6) == 50
    assert observed_of([_job(), _job(0.1)], [], None).slowdown is None
    assert observed_of([_job(), _job(0.5)], [], None).slowdown == 0
    assert observed_of([_job(decode_ms=1), _job(0.75, decode_ms=9000)], [], None).slowdown == MAX_SLOWDOWN
    assert round(observed_of([_job(0.5, decode_ms=1900)], [], None).output_units_per_s or 0, 6) == 50


def test_short_outputs_tell_nothing_of_speed() -> None:
    """They may arrive all at once."""
    short = Timing(0.0, 0.0, 0, 0.0, output_units=5, decode_ms=1)
    assert observed_of([short], [True], None) == NOTHING_OBSERVED


def test_a_first_failure_counts_half() -> None:
    """A node that fails again and again is left for last by its cost, too."""
    assert observed_of([], [False], None).failure_share == 0.5
    assert observed_of([], [False] * 15, None).failure_share == 15 / 16
    assert observed_of([], [True] * 3, None).failure_share == 0


@given(
    st.lists(
        st.builds(
            Timing,
            at=st.just(0.0),
            load=st.floats(0, 1),
            input_units=st.integers(0, 10**6),
            prefill_ms=st.floats(0, 1e7),
            output_units=st.integers(0, 10**6),
            decode_ms=st.floats(0, 1e7),
        ),
        max_size=16,
    )
)
def test_whatever_was_measured_the_result_can_be_reckoned_with(jobs: list[Timing]) -> None:
    """Positive speeds, a slowdown within its bounds."""
    known = observed_of(jobs, [], None)
    assert known.reading is None or 0 <= known.reading.expected_ms(100, 0.0) < math.inf
    assert known.output_units_per_s is None or known.output_units_per_s > 0
    assert known.slowdown is None or 0 <= known.slowdown <= MAX_SLOWDOWN

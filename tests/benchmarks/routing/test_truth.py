from dataclasses import replace

import pytest
from gpunode_benchmarks.overhead_engines import Pace
from gpunode_benchmarks.routing.truth import DoneJob, Truth

RTT_MS = {("here", "near"): 20.0, ("here", "far"): 100.0, ("there", "near"): 200.0, ("there", "far"): 10.0}
PACES = {"near": Pace(interval_ms=20, prefill_ms=1, slots=1), "far": Pace(interval_ms=10, prefill_ms=1, slots=1)}
JOB = DoneJob(
    host="here",
    node="near",
    phase=0,
    chosen_at=100.0,
    found_ms=0.0,
    ttft_ms=125.0,
    prompt_tokens=100,
    output_tokens=5,
    ended_at=100.2,
    disturbed=False,
)


def test_a_short_job_is_best_done_near() -> None:
    """A round trip, the prompt, and an interval for each token after the first."""
    truth = Truth(RTT_MS, PACES, [JOB])
    assert (truth.cost_ms(JOB, "near"), truth.cost_ms(JOB, "far")) == (20 + 100 + 80, 100 + 100 + 40)
    assert truth.regret_ms(JOB) == 0
    assert truth.regret_ms(replace(JOB, node="far")) == 40


def test_a_long_one_where_it_goes_fast() -> None:
    """What was chosen for its distance is regretted."""
    job = replace(JOB, output_tokens=11)
    assert Truth(RTT_MS, PACES, [job]).regret_ms(job) == (20 + 200) - (100 + 100)


def test_who_came_before_is_waited_for() -> None:
    """Until the engine has put out its last token; what came later, or has ended, delays nobody."""
    before = replace(JOB, chosen_at=99.9, ended_at=100.5)
    over = replace(JOB, chosen_at=99.0, ended_at=99.5)
    later = replace(JOB, chosen_at=100.1, ended_at=101.0)
    elsewhere = replace(JOB, node="far", chosen_at=99.9, ended_at=102.0)
    truth = Truth(RTT_MS, PACES, [JOB, before, over, later, elsewhere])
    arrival = 100.010
    assert truth.cost_ms(JOB, "near") == pytest.approx(200 + 1000 * (100.5 - arrival))


@pytest.mark.parametrize(("chosen_at", "seen"), [(99.89, 1), (99.905, 0)])
def test_what_was_on_its_way_is_regretted_in_hindsight_only(chosen_at: float, seen: int) -> None:
    """A job that had not come to the node when the client chose was in no queue that anyone could have told of."""
    other = replace(JOB, host="there", chosen_at=chosen_at, ended_at=100.5)  # 100 ms away
    truth = Truth(RTT_MS, PACES, [JOB, other])
    waits = pytest.approx(200 + 1000 * (100.5 - 100.010) - 240)
    assert truth.regret_ms(JOB) == (waits if seen else 0)
    assert truth.hindsight_regret_ms(JOB) == waits


def test_a_job_that_was_sent_before_can_come_after() -> None:
    """It has the longer way, and is not regretted in hindsight either."""
    slower = replace(JOB, host="there", chosen_at=99.95, ended_at=101.0)
    truth = Truth(RTT_MS, PACES, [JOB, slower])
    assert (truth.cost_ms(JOB, "near"), truth.hindsight_regret_ms(JOB)) == (200, 0)


def test_who_went_elsewhere_first_comes_later_than_it_chose() -> None:
    """It did not come before whoever was there while it waited for another node, and is waited for after that."""
    before = replace(JOB, chosen_at=99.0, ended_at=100.5, disturbed=True)  # it began at 100.32
    truth = Truth(RTT_MS, PACES, [JOB, before])
    assert truth.cost_ms(JOB, "near") == 200
    late = replace(JOB, chosen_at=100.4)
    assert truth.cost_ms(late, "near") == pytest.approx(200 + 1000 * (100.5 - 100.41))


def test_the_floor_of_a_first_token() -> None:
    """One round trip and reading the prompt, and the queue where there is one."""
    truth = Truth(RTT_MS, PACES, [JOB])
    assert truth.over_floor_ms(JOB) == 125 - 20 - 100
    assert truth.round_trips(JOB) == (125 - 100) / 20

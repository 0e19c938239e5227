from dataclasses import replace
from types import SimpleNamespace

import pytest
from gpunode_benchmarks.commands import _ROUTING_JOBS
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.routing import bench
from gpunode_benchmarks.routing.bench import JOBS, measures_of, run_routing_bench
from gpunode_benchmarks.routing.detour import Detour
from gpunode_benchmarks.routing.jobs import FIRST_CONTACT, FIRST_JOB, WARM_UP
from gpunode_benchmarks.routing.truth import Truth

from tests.benchmarks.routing.test_truth import JOB, PACES, RTT_MS

START = {"joining_ms": 500.0, "looking_up_ms": 250.0, "probing_ms": 40.0, "grant_ms": 10.0}

#: One job a phase was sent where it should be, one was not, and what came before is not judged.
DONE = [
    JOB,
    replace(JOB, node="far", chosen_at=200.0, ended_at=200.2),
    replace(JOB, phase=1, chosen_at=300.0, ended_at=300.2),
    replace(JOB, phase=WARM_UP, node="far", chosen_at=50.0, ended_at=50.2),
    replace(JOB, phase=FIRST_CONTACT, ttft_ms=180.0, chosen_at=40.0, ended_at=40.2),
    replace(JOB, phase=FIRST_JOB, ttft_ms=1_000.0, chosen_at=30.0, ended_at=30.2, start=START),
]


def test_each_phase_has_its_figures() -> None:
    """What is within 20 ms of the best, and how much later the others were."""
    measures = {measure.name: measure for measure in measures_of(Truth(RTT_MS, PACES, DONE))}
    good = {name: measures[f"{name}within_20ms"].values["median"] for name in ("", "calm_", "crowded_")}
    assert good == {"": pytest.approx(2 / 3), "calm_": 0.5, "crowded_": 1.0}
    assert measures["calm_regret"].values == {"median": 20, "p95": pytest.approx(38)}
    assert measures["over_floor"].count == measures["found"].count == 2
    assert measures["first_contact"].values == {"median": 4, "max": 4}


def test_a_first_job_is_told_part_by_part() -> None:
    """What is left of it is the job itself, without queue and prompt."""
    measures = {measure.name: measure.values["median"] for measure in measures_of(Truth(RTT_MS, PACES, DONE))}
    parts = ["joining", "looking_up", "probing", "grant", "job"]
    assert [measures[f"first_job_{part}"] for part in parts] == [500, 250, 40, 10, 100]
    assert measures["first_job"] == 900


def test_jobs_that_several_nodes_were_asked_for_are_not_judged() -> None:
    """What was chosen, and when, is not known of the node that answered. How many there were is told."""
    undisturbed = {measure.name: measure for measure in measures_of(Truth(RTT_MS, PACES, DONE))}
    moved = [
        replace(job, node="far", chosen_at=job.chosen_at + 1000, ended_at=job.ended_at + 1010, disturbed=True)
        for job in DONE
    ]
    told = {measure.name: measure for measure in measures_of(Truth(RTT_MS, PACES, [*DONE, *moved]))}
    assert undisturbed.pop("disturbed").values == {"median": 0}
    counted = told.pop("disturbed")
    assert (counted.values, counted.count) == ({"median": 5}, 10)  # of two phases, first jobs and first contact
    assert {name: (measure.count, measure.values) for name, measure in told.items()} == {
        name: (measure.count, measure.values) for name, measure in undisturbed.items()
    }


def test_the_way_through_the_tracker_is_told_beside_the_straight_one() -> None:
    """Medians and the longest; without pairs there are none."""
    detours = [
        Detour(direct_first_ms=10, direct_whole_ms=20, queued_first_ms=100 * number, queued_whole_ms=200 * number)
        for number in (1, 3)
    ]
    measures = {measure.name: measure for measure in measures_of(Truth(RTT_MS, PACES, DONE, detours))}
    assert measures["queued_first"].values == {"median": 200, "max": 300}
    assert (measures["direct_whole"].values["median"], measures["queued_whole"].count) == (20, 2)
    assert "queued_first" not in {measure.name for measure in measures_of(Truth(RTT_MS, PACES, DONE))}


@pytest.mark.parametrize("lost", [{0}, {1}, {FIRST_CONTACT}, {FIRST_JOB}])
def test_without_a_job_that_can_be_judged_there_is_no_figure(lost: set[int]) -> None:
    """Nothing is shown in its place."""
    jobs = [replace(job, disturbed=job.phase in lost) for job in DONE]
    with pytest.raises(BenchmarkFailed, match="more than one node"):
        list(measures_of(Truth(RTT_MS, PACES, jobs)))


def test_a_phase_without_jobs_has_no_figure() -> None:
    """Nothing is shown in its place."""
    with pytest.raises(BenchmarkFailed):
        list(measures_of(Truth(RTT_MS, PACES, DONE[:2])))


def test_the_bench_says_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whole seconds, the start of the world included."""
    monkeypatch.setattr(bench, "run_scene", lambda *_: Truth(RTT_MS, PACES, DONE))
    monkeypatch.setattr(bench, "time", SimpleNamespace(monotonic=iter((100.0, 158.4)).__next__))
    assert run_routing_bench().settings["seconds"] == 58


def test_the_bench_judges_what_the_scene_has_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many jobs as were asked for; without a wish, as many as the command does."""
    asked: list[int] = []

    def scene(jobs: int, _random: object) -> Truth:
        asked.append(jobs)
        return Truth(RTT_MS, PACES, DONE)

    monkeypatch.setattr(bench, "run_scene", scene)
    assert run_routing_bench().bench == "routing"
    run_routing_bench(12)
    assert asked == [JOBS, 12]
    assert JOBS == _ROUTING_JOBS

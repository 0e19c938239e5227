from gpunode_benchmarks.report import BenchResult
from gpunode_benchmarks.routing.bench import measures_of
from gpunode_benchmarks.routing.detour import Detour
from gpunode_benchmarks.routing.report import to_routing_json
from gpunode_benchmarks.routing.truth import Truth

from tests.benchmarks.routing.test_bench import DONE
from tests.benchmarks.routing.test_truth import PACES, RTT_MS


def test_an_operator_finds_what_was_asked_for() -> None:
    """jobs, within_20ms and regret_ms of all, and the same of each phase."""
    detour = Detour(direct_first_ms=10, direct_whole_ms=20, queued_first_ms=100, queued_whole_ms=200)
    measures = tuple(measures_of(Truth(RTT_MS, PACES, DONE, [detour])))
    settings = {"seconds": 58}
    result = BenchResult(
        bench="routing", about="", settings=settings, measures=measures, load_before=0.5, load_after=1.0
    )
    told = to_routing_json(result, {"cores": 2})
    assert (told["jobs"], told["calm"]["jobs"], told["crowded"]["jobs"]) == (3, 2, 1)
    assert told["crowded"] == {"jobs": 1, "within_20ms": 1.0, "regret_ms": {"median": 0, "p95": 0}}
    assert told["hindsight"] == {name: told[name] for name in ("jobs", "within_20ms", "regret_ms")}
    assert (told["disturbed"], told["settings"]) == (0, settings)
    assert told["first_contact_round_trips"] == {"median": 4, "max": 4}
    assert told["first_job_ms"]["whole"] == {"median": 900, "max": 900}
    assert {part: values["median"] for part, values in told["first_job_ms"].items() if part != "whole"} == {
        "joining": 500,
        "looking_up": 250,
        "probing": 40,
        "grant": 10,
        "job": 100,
    }
    assert told["through_tracker_ms"] == {
        "first": {"direct": 10, "through_tracker": 100, "added": 90},
        "whole": {"direct": 20, "through_tracker": 200, "added": 180},
    }
    assert set(told["over_floor_ms"]) == set(told["found_ms"]) == {"median", "p95"}
    assert (told["load"], told["load_after"], told["machine"]) == (0.5, 1.0, {"cores": 2})

from gpunode_benchmarks.tracker.heartbeats import Heartbeats
from gpunode_benchmarks.tracker.lookups import LookupRounds, Pace
from gpunode_benchmarks.tracker.query_plans import QueryPlan, Step
from gpunode_benchmarks.tracker.report import TrackerBenchResult, measures, to_tracker_json
from gpunode_benchmarks.tracker.scene import Seen
from gpunode_benchmarks.tracker.submissions import Submissions

PLANS = {"key": (QueryPlan("SELECT", (Step(1, 0, "SCAN jobs"), Step(2, 0, "USE TEMP B-TREE FOR ORDER BY"))),)}


def _rounds(*tracker_per_s: float) -> LookupRounds:
    bare = tuple(Pace(1_000.0, 0.02) for _ in tracker_per_s)
    return LookupRounds(7, tuple(Pace(per_s, 0.05) for per_s in tracker_per_s), bare)


SEEN = Seen(
    lookups={
        "regions": _rounds(400, 500, 600),
        "nodes": _rounds(300, 450, 900),
        "worker": _rounds(250, 300, 350),
    },
    takes_ms=tuple(float(number) for number in range(1, 102)),
    keyed_takes_ms=tuple(2.0 * number for number in range(1, 102)),
    submissions=Submissions(per_s=120.0, took_ms=(8.0,)),
    heartbeats=Heartbeats(core_share=0.12, per_s=166.0, took_ms=(1.0, 3.0)),
    plans=PLANS,
)


def _result() -> TrackerBenchResult:
    return TrackerBenchResult(
        bench="tracker",
        about="",
        settings={"seconds": 50},
        measures=tuple(measures(SEEN)),
        plans=SEEN.plans,
        load_before=1.0,
        load_after=2.0,
    )


def test_the_figures_stand_at_the_top() -> None:
    """The ratio is that of the open look-up that fares worst; the one with a key stands beside it."""
    told = to_tracker_json(_result(), {"cores": 2})
    names = ("lookup_ratio", "next_job_p95_ms", "heartbeat_core_share", "submit_per_s", "load", "load_after")
    assert [told[name] for name in names] == [0.45, 96.0, 0.12, 120.0, 1.0, 2.0]
    assert told["next_job_keyed_p95_ms"] == 192.0
    assert told["lookup_ratio_with_key"] == 0.3
    assert told["lookups"]["regions"] == {"median": 0.5, "p25": 0.45, "p75": 0.55}
    assert told["settings"] == {"seconds": 50}
    assert told["machine"] == {"cores": 2}


def test_plans_are_shown_with_what_is_wrong_with_them() -> None:
    """Steps that read or sort a whole table."""
    told = to_tracker_json(_result(), {})
    assert list(told["query_plans"]) == ["key"]
    assert (told["full_scans"], told["sorts"]) == (["SCAN jobs"], ["USE TEMP B-TREE FOR ORDER BY"])


def test_every_measure_has_a_name_of_its_own() -> None:
    """Programs rely on them."""
    names = [measure.name for measure in measures(SEEN)]
    assert len(set(names)) == len(names)
    assert {"next_job", "next_job_keyed", "submit", "heartbeat", "lookup_cpu_nodes_bare"} <= set(names)

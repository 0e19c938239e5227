import json

import pytest
from gpunode_benchmarks.flood_report import to_flood_json
from gpunode_benchmarks.report import BenchResult, Measure

_ONES = {
    "rate_before": 240.0,
    "rate_kept_opening": 0.9,
    "rate_kept_held": 0.97,
    "rate_kept_after": 1.0,
    "recovery": 0.4,
    "memory_growth_node": 5.0,
    "memory_growth_p2pd": 40.0,
    "opening_time": 3.0,
    "streams_opened": 4900.0,
    "streams_not_opened": 100.0,
    "streams_open": 8.0,
    "streams_ended_with_reason": 500.0,
    "streams_ended_silently": 4392.0,
    "honest_broken": 0.0,
    "p2pd_restarts": 0.0,
}


def _result(**changes: float) -> BenchResult:
    values = {name: {"median": value} for name, value in (_ONES | changes).items()}
    values["lag_held"] = {"median": 1.0, "p99": 9.0}
    measures = tuple(Measure(name=name, about="", unit="", count=1, values=value) for name, value in values.items())
    settings = {"streams": 5000, "paced_token_interval_ms": 33}
    return BenchResult(bench="flood", about="", settings=settings, measures=measures, load_before=0.1, load_after=0.2)


def test_programs_find_the_figures_at_the_top() -> None:
    """With what became of the streams, and that the engine is a paced one."""
    printed = json.loads(json.dumps(to_flood_json(_result(), {"system": "Linux"})))
    assert printed["rate_kept"] == {"opening": 0.9, "held": 0.97, "after": 1.0}
    assert printed["recovery_s"] == 0.4
    assert printed["memory_growth_mb"] == {"node": 5.0, "p2pd": 40.0}
    assert (printed["streams"], printed["refused"]) == (5000, 4992)
    assert (printed["load"], printed["load_after"]) == (0.1, 0.2)
    assert printed["fates"]["ended_with_reason"] == 500
    assert printed["lag_ms"] == {"held": {"median": 1.0, "p99": 9.0}}
    assert "paced" in printed["engine"]
    assert (printed["settings"]["streams"], printed["machine"]) == (5000, {"system": "Linux"})


@pytest.mark.parametrize(("recovery", "printed"), [(0.0, 0.0), (float("inf"), None)])
def test_no_recovery_is_null(recovery: float, printed: float | None) -> None:
    """JSON has no infinity."""
    assert to_flood_json(_result(recovery=recovery), {})["recovery_s"] == printed

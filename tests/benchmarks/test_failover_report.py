import json

import pytest
from gpunode_benchmarks.failover_report import to_failover_json
from gpunode_benchmarks.report import BenchResult, Measure

_ONES = {
    "runs": 50.0,
    "interrupted": 0.0,
    "too_late": 2.0,
    "tokens_lost": 0.0,
    "tokens_repeated": 0.0,
    "prefix_unchanged": 1.0,
    "identical": 0.9,
    "delivered_tokens": 5000.0,
    "debited_tokens": 4990.0,
    "ledger_matches": 1.0,
}


def _result(**changes: float) -> BenchResult:
    values = {name: {"median": value} for name, value in (_ONES | changes).items()}
    values["gap"] = {"median": 400.0, "max": 900.0}
    values["ttft"] = {"median": 200.0, "max": 300.0}
    measures = tuple(
        Measure(name=name, about="", unit="", count=48 if name == "gap" else 1, values=value)
        for name, value in values.items()
    )
    return BenchResult(
        bench="failover", about="", settings={"nodes": 4}, measures=measures, load_before=0.1, load_after=0.2
    )


def test_programs_find_the_figures_at_the_top() -> None:
    """Counts are whole numbers, and what must be so in every run is true or false."""
    printed = json.loads(json.dumps(to_failover_json(_result(), {"system": "Linux"})))
    assert (printed["runs"], printed["interrupted"], printed["too_late"]) == (50, 0, 2)
    assert printed["gap_ms"] == {"count": 48, "median": 400.0, "max": 900.0}
    assert printed["ttft_ms"] == {"median": 200.0, "max": 300.0}
    assert (printed["tokens_lost"], printed["tokens_repeated"]) == (0, 0)
    assert (printed["prefix_unchanged"], printed["ledger_matches"]) == (True, True)
    assert printed["identical_share"] == 0.9
    assert (printed["delivered_tokens"], printed["debited_tokens"]) == (5000, 4990)
    assert (printed["load"], printed["load_after"]) == (0.1, 0.2)
    assert (printed["settings"], printed["machine"]) == ({"nodes": 4}, {"system": "Linux"})


@pytest.mark.parametrize("name", ["prefix_unchanged", "ledger_matches"])
def test_one_exception_makes_it_false(name: str) -> None:
    """49 of 50 are not all."""
    assert to_failover_json(_result(**{name: 0.98}), {})[name] is False

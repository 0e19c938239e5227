import json

from gpunode_benchmarks.overhead_report import to_overhead_json
from gpunode_benchmarks.report import BenchResult, Measure

_VALUES = {
    "ttft_added": {"median": 3.0, "p95": 9.0},
    "ratio_streams_1": {"median": 0.99, "p25": 0.9, "p75": 1.0},
    "ratio_streams_8": {"median": 0.98, "p25": 0.9, "p75": 1.0},
    "a_a_streams_1": {"median": 1.01, "p25": 0.9, "p75": 1.1},
    "a_a_streams_8": {"median": 1.02, "p25": 0.9, "p75": 1.1},
    "lag_streams_32": {"median": 0.5, "p99": 4.0},
    "bytes_per_token": {"median": 153.0},
}


def test_programs_find_the_figures_at_the_top() -> None:
    """With what they were measured on; paced figures say that they are."""
    measures = tuple(Measure(name=name, about="", unit="", count=1, values=values) for name, values in _VALUES.items())
    result = BenchResult(
        bench="overhead", about="", settings={"pairs": 10}, measures=measures, load_before=0.1, load_after=0.2
    )
    printed = json.loads(json.dumps(to_overhead_json(result, {"system": "Linux"})))
    assert printed["ttft_added_ms"] == {"median": 3.0, "p95": 9.0}
    assert (printed["throughput_ratio"], printed["a_a"]) == ({"1": 0.99, "8": 0.98}, {"1": 1.01, "8": 1.02})
    assert (printed["load"], printed["load_after"]) == (0.1, 0.2)
    assert printed["lag_ms"] == {"32": {"median": 0.5, "p99": 4.0}}
    assert printed["bytes_per_token"] == 153.0
    assert printed["paced"]["measures"] == ["lag_ms", "bytes_per_token"]
    assert (printed["settings"], printed["machine"]) == ({"pairs": 10}, {"system": "Linux"})
    assert printed["spread"] == _VALUES

import io
import json
from typing import Any

import pytest
from gpunode_benchmarks.report import BenchResult, Measure, load_average, machine_facts, to_json, to_tables
from rich.console import Console

MACHINE: dict[str, Any] = {
    "architecture": "x86_64",
    "physical_cores": 2,
    "logical_cores": 4,
    "memory_bytes": 8 * 2**30,
    "system": "Linux",
    "python": "3.11.7",
    "versions": {"gpunode": "0.1.0"},
}


def _result() -> BenchResult:
    echo = Measure(name="echo", about="an echo", unit="ms", count=50, values={"median": 0.25, "p95": 1.5})
    ratio = Measure(name="ratio", about="ours / bare", unit="ratio", count=6, values={"median": 0.97, "p25": 0.9})
    return BenchResult(
        bench="sample", about="a sample", settings={"threads": 1}, measures=(echo, ratio), load_before=0.5, load_after=1
    )


def _text(width: int = 200) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(to_tables([_result()], MACHINE))
    return output.getvalue()


def test_json_is_one_object_of_machine_and_benches() -> None:
    """Programs find settings, load and every measure by its name."""
    assert json.loads(json.dumps(to_json([_result()], MACHINE))) == {
        "machine": MACHINE,
        "benches": {
            "sample": {
                "settings": {"threads": 1},
                "load_average": {"before": 0.5, "after": 1},
                "measures": {
                    "echo": {"unit": "ms", "count": 50, "median": 0.25, "p95": 1.5},
                    "ratio": {"unit": "ratio", "count": 6, "median": 0.97, "p25": 0.9},
                },
            }
        },
    }


@pytest.mark.parametrize(
    "shown", ["sample: a sample", "an echo", "0.25", "ours / bare", "0.97", "threads 1", "load average 0.50 before"]
)
def test_the_table_shows_what_json_has(shown: str) -> None:
    """People see figures, settings and load."""
    assert shown in _text()


def test_the_table_has_the_columns_that_are_filled() -> None:
    """A summary that no measure has takes no column."""
    header = _text().splitlines()[2]
    assert [name for name in ("median", "p25", "p75", "p95") if name in header] == ["median", "p25", "p95"]


def test_the_machine_is_named_below_the_tables() -> None:
    """A figure without its machine means nothing."""
    assert _text().splitlines()[-1] == "2 cores (4 logical, x86_64), 8 GiB, Linux, Python 3.11.7, gpunode 0.1.0"


def test_this_machine_has_facts() -> None:
    """Cores, memory and our own version are always known."""
    facts = machine_facts()
    assert set(facts) == set(MACHINE)
    assert facts["logical_cores"] >= 1
    assert facts["memory_bytes"] > 0
    assert "gpunode" in facts["versions"]


def test_the_load_is_not_negative() -> None:
    """The load average is read from the system."""
    assert load_average() >= 0

from pathlib import Path

import pytest
from gpunode_benchmarks.memory_bench import run_memory_bench
from gpunode_benchmarks.report import BenchResult

LIMIT_MIB = 400_000_000 / 2**20
"""What a tracker and a node may take at most, their p2pd and engines apart."""


@pytest.fixture(scope="module")
def result(smollm2_path: Path) -> BenchResult:  # noqa: ARG001 -- skips where there is no model
    """Two samples of real processes."""
    return run_memory_bench(2)


@pytest.mark.full
def test_each_process_is_shown_with_and_without_its_p2pd(result: BenchResult) -> None:
    """The names that programs rely on; the sum is right."""
    median = {measure.name: measure.values["median"] for measure in result.measures}
    processes = ("tracker", "node", "client")
    parts = ("", "_p2pd", "_with_p2pd")
    assert list(median) == [*(f"{process}{part}" for process in processes for part in parts), "engine"]
    assert min(median.values()) > 10
    for process in processes:
        total = median[process] + median[f"{process}_p2pd"]
        assert median[f"{process}_with_p2pd"] == pytest.approx(total, rel=0.05)


@pytest.mark.full
def test_tracker_and_node_are_within_their_limit(result: BenchResult) -> None:
    """Whoever imports a framework into one of them is told."""
    median = {measure.name: measure.values["median"] for measure in result.measures}
    assert max(median["tracker"], median["node"]) < LIMIT_MIB

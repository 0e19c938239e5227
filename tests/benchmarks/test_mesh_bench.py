import pytest
from gpunode_benchmarks.mesh_bench import run_mesh_bench
from gpunode_benchmarks.report import BenchResult


@pytest.fixture(scope="module")
def result() -> BenchResult:
    """Two rounds between two real peers."""
    return run_mesh_bench(2)


def test_every_measure_has_a_value_of_each_round(result: BenchResult) -> None:
    """Warm-up rounds are not counted; what a stream or a record costs is above zero."""
    assert [measure.count for measure in result.measures] == [2] * 5
    assert all(0 < measure.values["median"] <= measure.values["p95"] for measure in result.measures)


def test_streams_and_records_are_measured(result: BenchResult) -> None:
    """The names that programs rely on."""
    assert [measure.name for measure in result.measures] == [
        "stream_open_and_first_echo",
        "echo_on_open_stream",
        "announce_new_key",
        "announce_again",
        "find",
    ]

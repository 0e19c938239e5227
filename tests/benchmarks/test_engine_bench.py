import pytest
from gpunode_benchmarks import engine_bench
from gpunode_benchmarks.engine_bench import run_engine_bench
from gpunode_benchmarks.report import BenchResult


@pytest.fixture(scope="module")
def result() -> BenchResult:
    """One round with the real model on every side, with few tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_bench, "_CASES", (engine_bench._Case(1, 3), engine_bench._Case(2, 2)))
        return run_engine_bench(1)


def test_each_number_of_streams_has_both_ratios(result: BenchResult) -> None:
    """Beside engine / bare stands bare / bare, without which it cannot be read."""
    names = [f"{name}_streams_{streams}" for streams in (1, 2) for name in ("bare", "engine", "ratio", "a_a")]
    assert [measure.name for measure in result.measures] == names


def test_the_ratio_is_that_of_the_speeds(result: BenchResult) -> None:
    """Both sides are measured in the same unit over the same tokens."""
    medians = {measure.name: measure.values["median"] for measure in result.measures}
    assert medians["ratio_streams_1"] == pytest.approx(medians["engine_streams_1"] / medians["bare_streams_1"])


def test_what_was_fixed_is_reported(result: BenchResult) -> None:
    """One thread: more would measure the machine's other processes."""
    assert result.settings["threads"] == 1
    assert result.settings["output_tokens_streams_2"] == 2

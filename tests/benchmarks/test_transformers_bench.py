import pytest
from gpunode_benchmarks import transformers_bench
from gpunode_benchmarks.report import BenchResult
from gpunode_benchmarks.transformers_bench import run_transformers_bench


@pytest.fixture(scope="module")
def result() -> BenchResult:
    """One round with the real model on every side, with few tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers_bench, "_OUTPUT_TOKENS", 3)
        return run_transformers_bench(1)


def test_ratio_noise_and_scale_are_reported(result: BenchResult) -> None:
    """Engine / bare stands beside bare / bare, and eight streams beside one."""
    names = [measure.name for measure in result.measures]
    assert names == ["bare_1", "engine_1", "ratio_1", "a_a_1", "engine_8", "scale_8"]


def test_the_ratios_are_those_of_the_speeds(result: BenchResult) -> None:
    """All sides are measured in the same unit over the same tokens."""
    medians = {measure.name: measure.values["median"] for measure in result.measures}
    assert medians["ratio_1"] == pytest.approx(medians["engine_1"] / medians["bare_1"])
    assert medians["scale_8"] == pytest.approx(medians["engine_8"] / medians["engine_1"])


def test_what_was_fixed_is_reported(result: BenchResult) -> None:
    """One thread: more would measure the machine's other processes."""
    assert result.settings["threads"] == 1
    assert result.settings["dtype"] == "float32"

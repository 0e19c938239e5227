import pytest
from gpunode_benchmarks import image_bench
from gpunode_benchmarks.image_bench import PICTURE, run_image_bench
from gpunode_benchmarks.report import BenchResult


@pytest.fixture(scope="module")
def result() -> BenchResult:
    """One round with the real model on every side, in few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_bench, "PICTURE", {**PICTURE, "steps": 2})
        return run_image_bench(1)


def test_beside_the_ratio_stands_what_chance_makes(result: BenchResult) -> None:
    """Bare / bare, without which engine / bare cannot be read."""
    assert [measure.name for measure in result.measures] == ["bare", "engine", "ratio", "a_a"]
    assert {measure.count for measure in result.measures} == {1}


def test_the_ratio_is_that_of_the_speeds(result: BenchResult) -> None:
    """Higher is better."""
    medians = {measure.name: measure.values["median"] for measure in result.measures}
    assert medians["ratio"] == pytest.approx(medians["engine"] / medians["bare"])
    assert result.settings["threads"] == 1

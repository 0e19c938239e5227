import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from gpunode_benchmarks.engines import bench, images, llamacpp
from gpunode_benchmarks.engines.turns import measure
from gpunode_benchmarks.report import Measure


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put quick benches in the places of the real ones; return what happened."""
    happened: list[str] = []

    def quick(name: str) -> "bench._Bench":
        async def run(rounds: int) -> list[Measure]:
            happened.append(f"begin {name}")
            await asyncio.sleep(0)
            happened.append(f"end {name}")
            return [measure(name, "x", [1.0] * rounds)]

        return run

    async def copy(_: Path) -> str:
        happened.append("copy")
        return "copy"

    async def scale(models_dir: Path, eight_bit: str) -> list[Measure]:
        assert (models_dir.is_dir(), eight_bit) == (True, "copy")
        happened.append("scale")
        return [measure("scale", "x", [1.0])]

    async def pictures(rounds: int, when_quiet: Callable[[], Awaitable[object]]) -> list[Measure]:
        happened.append("load pictures")
        await when_quiet()
        happened.append("pictures")
        return [measure("pictures", "x", [1.0] * rounds)]

    monkeypatch.setattr(images, "measure_images", pictures)
    monkeypatch.setattr(bench, "LANES", ((quick("a"), quick("b")), (quick("c"),)))
    monkeypatch.setattr(bench, "pull_eight_bit_copy", copy)
    monkeypatch.setattr(llamacpp, "measure_llamacpp_scale", scale)
    return happened


def test_lanes_run_at_once_and_what_needs_two_cores_after_them(
    lanes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a lane one comes after the other."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    result = bench.run_engines_bench(3)
    assert lanes[0] == "load pictures"
    assert lanes[1:] == ["begin a", "begin c", "end a", "begin b", "end c", "end b", "copy", "pictures", "scale"]
    assert [measure.name for measure in result.measures] == ["a", "b", "c", "pictures", "scale"]
    assert result.measures[0].count == 3
    assert result.settings["threads"] == 1


def test_on_one_core_nothing_runs_at_once(lanes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lanes would measure each other."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    bench.run_engines_bench(1)
    assert lanes[1:] == ["begin a", "end a", "begin b", "end b", "begin c", "end c", "copy", "pictures", "scale"]


@pytest.mark.usefixtures("lanes")
def test_the_bench_says_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whole seconds, the loading of models included."""
    monkeypatch.setattr(bench, "time", SimpleNamespace(monotonic=iter((100.0, 158.4)).__next__))
    assert bench.run_engines_bench(1).settings["seconds"] == 58

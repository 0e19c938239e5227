"""Rounds with the real model on every side, with few tokens."""

from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_benchmarks.eight_bit_copy import pull_eight_bit_copy
from gpunode_benchmarks.engines import llamacpp


@pytest.fixture(autouse=True)
def few_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a round short."""
    monkeypatch.setattr(llamacpp, "CASES", tuple(replace(case, output_tokens=2) for case in llamacpp.CASES))
    monkeypatch.setattr(llamacpp, "SCALE_TOKENS", 2)


@pytest.mark.full
async def test_each_number_of_streams_has_its_ratio() -> None:
    """Beside engine / bare stands, for one stream, bare / bare, without which it cannot be read."""
    measures = {measure.name: measure for measure in await llamacpp.measure_llamacpp(1)}
    assert list(measures) == [
        *(f"llama.cpp, 8 streams: {name}" for name in ("bare library", "engine", "ratio")),
        *(f"llama.cpp, 1 stream: {name}" for name in ("bare library", "engine", "ratio", "a_a")),
    ]
    assert all(measure.count == 1 and measure.values["median"] > 0 for measure in measures.values())


@pytest.mark.full
async def test_scale_is_measured_apart(tmp_path: Path) -> None:
    """On two threads, and for weights of both formats; the other figures are of one thread."""
    measures = await llamacpp.measure_llamacpp_scale(tmp_path, await pull_eight_bit_copy(tmp_path))
    assert [(measure.name, measure.count) for measure in measures] == [
        ("llama.cpp, 2 threads: scale_8", 3),
        ("llama.cpp, 2 threads: scale_8, as packaged", 2),
    ]
    assert all(measure.values["median"] > 0 for measure in measures)

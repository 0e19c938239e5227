import pytest
from gpunode_benchmarks.engines import transformers


@pytest.mark.full
async def test_ratio_and_scale_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round with the real model on every side, with few tokens; eight streams stand beside one."""
    monkeypatch.setattr(transformers, "OUTPUT_TOKENS", 2)
    monkeypatch.setattr(transformers, "SCALE_ROUNDS", 1)
    values = {measure.name: measure.values["median"] for measure in await transformers.measure_transformers(1)}
    assert list(values) == [
        *(f"transformers, 1 stream: {name}" for name in ("bare library", "engine", "ratio")),
        "transformers: scale_8",
    ]
    one, bare = values["transformers, 1 stream: engine"], values["transformers, 1 stream: bare library"]
    assert values["transformers, 1 stream: ratio"] == pytest.approx(one / bare)

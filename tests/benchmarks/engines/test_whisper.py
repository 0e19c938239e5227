import pytest
from gpunode_benchmarks.engines.whisper import measure_whisper


@pytest.mark.full
async def test_beside_the_ratio_stands_what_chance_makes() -> None:
    """One round with the real model on every side; a side that heard nothing would fail."""
    measures = await measure_whisper(1)
    assert [measure.name for measure in measures] == [
        f"faster-whisper: {name}" for name in ("bare library", "engine", "ratio", "a_a")
    ]
    assert all(measure.values["median"] > 0 for measure in measures)

import asyncio

import pytest
from gpunode_benchmarks.engines import images


@pytest.mark.full
async def test_beside_the_ratio_stands_what_chance_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round with the real model on every side, in few steps."""
    monkeypatch.setattr(images, "PICTURE", {**images.PICTURE, "steps": 2})
    measures = await images.measure_images(1, lambda: asyncio.sleep(0))
    assert [measure.name for measure in measures] == [
        f"diffusers: {name}" for name in ("bare library", "engine", "ratio", "a_a")
    ]
    assert {measure.count for measure in measures} == {1}

"""How many tokens of embeddings a second are read, and how many image units drawn."""

from collections.abc import AsyncGenerator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gpunode_engines.base import NO_LIMIT_PER_S, Event, Finished, PreparedPrompt, Progress
from gpunode_engines.errors import BackendFailed
from gpunode_engines.media import EmbeddingRequest, ImageRequest
from gpunode_engines.media_speed import IMAGE_STEPS, measure_embedding, measure_image


class _Engine:
    """Counts each input as ten tokens."""

    async def prepare(self, request: EmbeddingRequest) -> PreparedPrompt:
        return PreparedPrompt(token_ids=(1,) * 10 * len(request.inputs), rendered=b"")

    async def generate(self, request: EmbeddingRequest) -> AsyncGenerator[Event, None]:
        yield Finished(reason="stop", prompt_tokens=10 * len(request.inputs), output_tokens=0)


async def test_the_rate_is_that_of_the_input() -> None:
    """Output of embeddings takes no time of its own."""
    engine: Any = _Engine()
    speed = await measure_embedding(engine)
    assert (speed.prompt_tokens, speed.output_tokens) == (160, 0)
    assert speed.prefill_tokens_per_s == 160 / speed.ttft_s
    assert speed.decode_tokens_per_s == NO_LIMIT_PER_S


class _ImageEngine:
    """Draws pictures of 64 x 64 pixels; a step takes as long as it takes."""

    info = SimpleNamespace(image_side=64)

    def __init__(self, steps: int = IMAGE_STEPS) -> None:
        self.steps = steps
        self.asked: ImageRequest | None = None

    async def generate(self, request: ImageRequest) -> AsyncGenerator[Event, None]:
        self.asked = request
        for step in range(1, self.steps + 1):
            yield Progress(step=step, total=request.steps)
        yield Finished(reason="stop", prompt_tokens=0, output_tokens=0)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each look at the clock be a second later."""
    ticks: Iterator[float] = iter(map(float, range(100)))
    loop = SimpleNamespace(time=lambda: next(ticks))
    monkeypatch.setattr("gpunode_engines.media_speed.asyncio.get_running_loop", lambda: loop)


@pytest.mark.usefixtures("seconds")
async def test_the_first_step_warms_up_and_does_not_count() -> None:
    """The others, and decoding the picture, do; a unit is 1,024 pixel-steps."""
    engine: Any = _ImageEngine()
    speed = await measure_image(engine)
    assert engine.asked.width == engine.asked.height == 64
    assert speed.ttft_s == 1.0
    assert speed.decode_tokens_per_s == 64 * 64 * (IMAGE_STEPS - 1) / 1024 / 4
    assert speed.prefill_tokens_per_s == NO_LIMIT_PER_S


async def test_an_engine_that_tells_no_steps() -> None:
    """There is nothing to measure by."""
    engine: Any = _ImageEngine(steps=1)
    with pytest.raises(BackendFailed, match="too few steps"):
        await measure_image(engine)

import asyncio
import math
from collections.abc import AsyncGenerator

import pytest
from gpunode_engines import speed as speed_module
from gpunode_engines.base import Event, GenerateRequest, MeasuredSpeed
from gpunode_engines.errors import BackendFailed
from gpunode_engines.speed import LONG, SHORT, WARM_UP, measure_speed

from tests.engines.fake_engine import FakeEngine
from tests.node.virtual_time import virtual_time


class WatchedEngine(FakeEngine):
    """Notes the prompts that it gets."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # -- checked at run time
        self.prompts: list[tuple[int, ...]] = []

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """See ``Engine``."""
        self.prompts.append(request.prompt_ids)
        async for event in super().generate(request):
            yield event


async def measured(engine: FakeEngine) -> MeasuredSpeed:
    """Measure a fake engine as a real one is measured."""
    await engine.start()
    return await measure_speed(engine)


async def test_a_fast_engine_gets_a_long_job() -> None:
    """Both figures come from it alone."""
    engine = WatchedEngine()
    speed = await measured(engine)
    assert [len(prompt) for prompt in engine.prompts] == [size.prompt_tokens for size in (WARM_UP, SHORT, LONG)]
    assert (speed.prompt_tokens, speed.output_tokens) == LONG
    assert speed.prefill_tokens_per_s == LONG.prompt_tokens / speed.ttft_s


async def test_a_slow_engine_is_not_kept_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its short job took long enough to say how fast it is."""
    monkeypatch.setattr(speed_module, "LONG_ENOUGH_S", 0.0)
    engine = WatchedEngine()
    speed = await measured(engine)
    assert [len(prompt) for prompt in engine.prompts] == [size.prompt_tokens for size in (WARM_UP, SHORT)]
    assert (speed.prompt_tokens, speed.output_tokens) == SHORT


async def test_no_prompt_begins_like_another() -> None:
    """What a prompt cache holds would not have to be read."""
    engine = WatchedEngine()
    await measured(engine)
    assert len({prompt[:4] for prompt in engine.prompts}) == len(engine.prompts)


async def test_a_small_context_is_enough() -> None:
    """The job shrinks with the context."""
    speed = await measured(FakeEngine(context_tokens=40))
    assert (speed.prompt_tokens, speed.output_tokens) == (20, 20)


async def test_the_pace_is_found() -> None:
    """A paced engine is never faster than its pace."""
    speed = await measured(FakeEngine(tokens_per_s=1000.0))
    assert 0 < speed.decode_tokens_per_s <= 1000


@virtual_time
@pytest.mark.parametrize("reading_s", [0.0, 0.5])
async def test_tokens_that_come_in_one_go(reading_s: float) -> None:
    """In no time by the clock, as they may on a busy machine: the figures are finite, and no miracles."""

    class HeldUp(FakeEngine):
        async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
            await asyncio.sleep(reading_s)
            async for event in super().generate(request):
                yield event

    speed = await measured(HeldUp())
    assert speed.ttft_s == reading_s
    assert 0 < speed.decode_tokens_per_s <= 4 * speed.prefill_tokens_per_s < math.inf


@pytest.mark.parametrize(("answer", "problem"), [("x", "too few tokens"), ("", "no token")])
async def test_one_token_is_no_measurement(answer: str, problem: str) -> None:
    """Better an error than an invented figure."""
    with pytest.raises(BackendFailed, match=problem):
        await measured(FakeEngine(answer=answer))

import pytest
from gpunode_engines.base import MeasuredSpeed
from gpunode_engines.errors import BackendFailed
from gpunode_engines.speed import OUTPUT_TOKENS, PROMPT_TOKENS, measure_speed

from tests.engines.fake_engine import FakeEngine


async def measured(engine: FakeEngine) -> MeasuredSpeed:
    """Measure a fake engine as a real one is measured."""
    await engine.start()
    return await measure_speed(engine)


async def test_prompt_and_output_have_their_sizes() -> None:
    """Both figures come from the same job."""
    speed = await measured(FakeEngine())
    assert (speed.prompt_tokens, speed.output_tokens) == (PROMPT_TOKENS, OUTPUT_TOKENS)
    assert speed.prefill_tokens_per_s == PROMPT_TOKENS / speed.ttft_s


async def test_a_small_context_is_enough() -> None:
    """The job shrinks with the context."""
    speed = await measured(FakeEngine(context_tokens=40))
    assert (speed.prompt_tokens, speed.output_tokens) == (20, 20)


async def test_the_pace_is_found() -> None:
    """A paced engine is never faster than its pace."""
    speed = await measured(FakeEngine(tokens_per_s=1000.0))
    assert 0 < speed.decode_tokens_per_s <= 1000


async def test_one_token_is_no_measurement() -> None:
    """Better an error than an invented figure."""
    with pytest.raises(BackendFailed, match="too few tokens"):
        await measured(FakeEngine(answer="x"))

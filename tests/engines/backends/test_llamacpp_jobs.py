"""That what a job asks for reaches llama.cpp: how tokens are chosen, and a cancel while the prompt is read."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from gpunode_engines.base import Finished, Progress
from gpunode_engines.supervisor import SupervisedEngine

from tests.engines.backends.test_llamacpp_server import PLAN
from tests.engines.backends.test_text_llamacpp import request_of
from tests.engines.scripted_engine import collect, ids_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTEXT_TOKENS = 512


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(smollm2_path: Path) -> AsyncIterator[SupervisedEngine]:
    """The model, loaded once for all tests of this file."""
    options = replace(PLAN.options, context_tokens=CONTEXT_TOKENS, slots=1, use_gpu=False)
    started = SupervisedEngine(replace(PLAN, files=(str(smollm2_path),), options=options))
    await started.start()
    yield started
    await started.stop()


@pytest.fixture(scope="module")
def sampled(engine: SupervisedEngine) -> Callable[..., Awaitable[tuple[int, ...]]]:
    """Return the ids of an answer of 16 tokens that is drawn as the fields say."""

    async def answer(**fields: float) -> tuple[int, ...]:
        values = {"max_tokens": 16, "seed": 7, "ignore_eos": True} | fields
        return ids_of(await collect(engine, await request_of(engine, "Write one sentence about the sea.", **values)))

    return answer


@pytest.mark.parametrize("cut", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}], ids=["top_k", "top_p", "min_p"])
async def test_a_cut_to_the_best_token_is_greedy(
    sampled: Callable[..., Awaitable[tuple[int, ...]]], cut: dict[str, float]
) -> None:
    """So each cut reaches llama.cpp, and so does a temperature at which an answer without it is another."""
    assert await sampled(temperature=2.0, **cut) == await sampled(temperature=0.0) != await sampled(temperature=2.0)


@pytest.mark.parametrize("penalty", ["repetition_penalty", "presence_penalty", "frequency_penalty"])
async def test_a_strong_penalty_changes_a_greedy_answer(
    sampled: Callable[..., Awaitable[tuple[int, ...]]], penalty: str
) -> None:
    """So each penalty reaches llama.cpp."""
    assert await sampled(temperature=0.0, **{penalty: 2.0}) != await sampled(temperature=0.0)


async def test_a_cancel_while_the_prompt_is_read_ends_the_reading(engine: SupervisedEngine) -> None:
    """After the step that is being computed; the slot is free before the prompt has been read."""
    short = await request_of(engine, "one two three four five six seven", max_tokens=1)
    prompt_ids = (short.prompt_ids * CONTEXT_TOKENS)[: CONTEXT_TOKENS - 1]
    steps: list[int] = []
    async with aclosing(engine.generate(replace(short, prompt_ids=prompt_ids))) as events:
        async for event in events:
            if isinstance(event, Progress):
                assert event.total == len(prompt_ids)
                steps.append(event.step)
                await engine.cancel("job")
    assert event == Finished(reason="cancelled", prompt_tokens=len(prompt_ids), output_tokens=0)
    assert steps[-1] < len(prompt_ids)
    assert engine.active_jobs == 0

"""The transformers backend on a graphics card, with the real model in a real child process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from gpunode_engines.base import Finished, GenerateRequest, Tokens
from gpunode_engines.catalogue import CatalogueEntry
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import SupervisedEngine

from tests.engines.scripted_engine import collect, ids_of, prepare, text_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no card with CUDA"),
    pytest.mark.asyncio(loop_scope="module"),
]

SLOTS = 4
QUESTIONS = ("What is the capital of France?", "What is 2 + 2?", "Name a colour.", "Repeat exactly: 🎉🎉🎉")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(checkpoint_entry: CatalogueEntry, checkpoint_models_dir: Path) -> AsyncIterator[SupervisedEngine]:
    """The model on the card, loaded once for all tests of this file."""
    settings = EngineSettings(
        models_dir=checkpoint_models_dir,
        cache_dir=checkpoint_models_dir,
        engine_slots=SLOTS,
        engine_context_tokens=512,
    )
    started = create_engine(plan_engine(checkpoint_entry, settings, detect_machine()), settings)
    await started.start()
    yield started
    await started.stop()


async def _request(engine: SupervisedEngine, number: int, *, max_tokens: int = 12) -> GenerateRequest:
    prompt = await prepare(engine, QUESTIONS[number])
    return GenerateRequest(job_key=f"job{number}", prompt_ids=prompt.token_ids, max_tokens=max_tokens, temperature=0.0)


async def test_it_answers_from_the_card_and_says_which(engine: SupervisedEngine) -> None:
    """In the type of its weights, which is 16 bits there."""
    events = await collect(engine, await _request(engine, 0))
    assert text_of(events) == "The capital of France is Paris."
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "stop"
    assert engine.info.device == torch.cuda.get_device_name()
    assert engine.info.quantisation in {"float16", "bfloat16"}


async def test_jobs_run_together(engine: SupervisedEngine) -> None:
    """As many as there are slots, by the library's batching; each gets its own whole answer."""
    requests = [await _request(engine, number, max_tokens=4 + number) for number in range(SLOTS)]
    answers = await asyncio.gather(*(collect(engine, request) for request in requests))
    assert all(isinstance(events[-1], Finished) for events in answers)
    assert [len(ids_of(events)) <= 4 + number for number, events in enumerate(answers)] == [True] * SLOTS
    assert all(ids_of(events) for events in answers)
    assert engine.active_jobs == 0


async def test_a_cancelled_job_frees_its_slot(engine: SupervisedEngine) -> None:
    """The next job is served after it."""
    request = await _request(engine, 0, max_tokens=400)
    async with aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Tokens):
                await engine.cancel("job0")
    assert engine.active_jobs == 0
    assert text_of(await collect(engine, await _request(engine, 0))) == "The capital of France is Paris."

"""The real model (SmolLM2-135M as safetensors) in a real child process, on the CPU."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from gpunode_engines.base import Finished, GenerateRequest, PrepareRequest, Progress, Tokens
from gpunode_engines.catalogue import CatalogueEntry
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import (
    ContextOverflow,
    EngineCrashed,
    EngineOverloaded,
    EngineStartFailed,
    InvalidParameters,
    ResumeRefused,
)
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine

from tests.engines.scripted_engine import collect, ids_of, prepare, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOTS = 8
CONTEXT_TOKENS = 512
FRANCE = "What is the capital of France?"


@pytest.fixture(scope="module")
def settings(checkpoint_models_dir: Path) -> EngineSettings:
    """One thread: other processes of the machine then do not stop each layer."""
    return EngineSettings(
        models_dir=checkpoint_models_dir,
        cache_dir=checkpoint_models_dir,
        engine_slots=SLOTS,
        engine_context_tokens=CONTEXT_TOKENS,
        engine_threads=1,
        engine_gpu=False,
    )


@pytest.fixture(scope="module")
def plan(checkpoint_entry: CatalogueEntry, settings: EngineSettings) -> EnginePlan:
    """How the checkpoint is loaded."""
    return plan_engine(checkpoint_entry, settings, detect_machine())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(plan: EnginePlan, settings: EngineSettings) -> AsyncIterator[SupervisedEngine]:
    """The model, loaded once for all tests of this file."""
    started = create_engine(plan, settings)
    await started.start()
    yield started
    await started.stop()


async def request_of(engine: SupervisedEngine, text: str, **fields: object) -> GenerateRequest:
    """Return a greedy request of at most 12 tokens for one user message."""
    prompt = await prepare(engine, text)
    values: dict[str, object] = {
        "job_key": "job",
        "prompt_ids": prompt.token_ids,
        "max_tokens": 12,
        "temperature": 0.0,
    } | fields
    return GenerateRequest(**values)  # type: ignore[arg-type]  # -- tests pass fields of the request


@pytest.mark.full
async def test_it_knows_the_capital_of_france(engine: SupervisedEngine) -> None:
    """A greedy answer, ended by the model itself; every token comes with its id."""
    events = await collect(engine, await request_of(engine, FRANCE))
    assert text_of(events) == "The capital of France is Paris."
    assert events[-1] == Finished(reason="stop", prompt_tokens=16, output_tokens=7)
    assert len(ids_of(events)) == 7
    assert all(len(event.ids) == 1 for event in events if isinstance(event, Tokens))


async def test_it_computes_in_32_bits_and_says_so(engine: SupervisedEngine, plan: EnginePlan) -> None:
    """The type of the numbers is part of the fingerprint: a node that computes otherwise cannot go on."""
    assert (engine.info.backend, engine.info.quantisation, engine.info.device) == ("transformers", "float32", "cpu")
    assert engine.info.context_tokens == CONTEXT_TOKENS
    assert plan.memory_bytes > 135e6 * 4


async def test_the_prompt_is_rendered_and_counted(engine: SupervisedEngine) -> None:
    """As llama.cpp renders and tokenises it; digits are tokens of their own."""
    prompt = await prepare(engine, "Hi 123")
    assert prompt.rendered == b"<|im_start|>user\nHi 123<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.token_ids[0] == 1
    assert len(prompt.token_ids) == len((await prepare(engine, "Hi")).token_ids) + 4


async def test_no_messages_are_refused(engine: SupervisedEngine) -> None:
    """There is nothing to answer."""
    with pytest.raises(InvalidParameters, match="no messages"):
        await engine.prepare(PrepareRequest(messages=()))


async def test_ids_outside_the_vocabulary_are_refused(engine: SupervisedEngine) -> None:
    """They would read memory that is not theirs."""
    request = await request_of(engine, "Hi", resume_ids=(49_152,))
    with pytest.raises(InvalidParameters, match="vocabulary"):
        await collect(engine, request)


async def test_cancel_takes_effect_within_a_token(engine: SupervisedEngine) -> None:
    """After a cancel at most one more token comes, and the slot is free."""
    request = await request_of(engine, "Tell me a long story.", max_tokens=400, ignore_eos=True)
    after_cancel = 0
    cancelled = False
    async with aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Tokens):
                after_cancel += cancelled
                if not cancelled:
                    await engine.cancel("job")
                    cancelled = True
            elif isinstance(event, Finished):
                assert event.reason == "cancelled"
    assert after_cancel <= 1
    assert engine.active_jobs == 0


async def test_jobs_join_and_leave(engine: SupervisedEngine) -> None:
    """Jobs of different lengths run together, a ninth is refused, and each gets the answer that it gets alone."""
    questions = [FRANCE, "What is 2 + 2?", "Name a colour.", "Repeat exactly: 🎉🎉🎉"]
    requests = [
        await request_of(engine, questions[number % 4], job_key=f"job{number}", max_tokens=4 + number)
        for number in range(SLOTS)
    ]
    ninth = await request_of(engine, "one more", job_key="ninth")
    jobs = [asyncio.create_task(collect(engine, request)) for request in requests]
    await asyncio.sleep(0)  # each task takes its slot before it first waits
    with pytest.raises(EngineOverloaded):
        await collect(engine, ninth)
    together = await asyncio.gather(*jobs)
    for number in range(4, SLOTS):
        assert ids_of(together[number])[: 4 + number - 4] == ids_of(together[number - 4])
    assert text_of(together[4]) == "The capital of France is Paris."
    alone = await collect(engine, replace(requests[7], job_key="alone"))
    assert ids_of(alone) == ids_of(together[7])


async def test_context_overflow_is_an_error(engine: SupervisedEngine) -> None:
    """One token more than fits is refused; what just fits is served whole, its prompt read in several parts."""
    request = await request_of(engine, "one two three", ignore_eos=True)
    with pytest.raises(ContextOverflow, match=f"at most {CONTEXT_TOKENS}"):
        await collect(engine, replace(request, max_tokens=CONTEXT_TOKENS))
    long_prompt = (request.prompt_ids * CONTEXT_TOKENS)[: CONTEXT_TOKENS - 2]
    events = await collect(engine, replace(request, prompt_ids=long_prompt, max_tokens=2))
    assert len(ids_of(events)) == 2
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == [0, 128, 256, 384]


@pytest.mark.parametrize("received", [1, 5, 8])
async def test_resumed_answers_continue(engine: SupervisedEngine, received: int) -> None:
    """What comes after a resume is the rest of the uninterrupted answer: ids, text and reason."""
    question = "Repeat exactly: 🎉🎉🎉 and then say goodbye."
    whole = await collect(engine, await request_of(engine, question))
    seen, text_offset = [], 0
    for event in whole:
        if isinstance(event, Tokens) and len(seen) < received:
            seen += event.ids
            text_offset += len(event.text.encode())
    rest = await collect(
        engine,
        await request_of(engine, question, max_tokens=12 - received, resume_ids=tuple(seen), text_offset=text_offset),
    )
    assert (*seen, *ids_of(rest)) == ids_of(whole)
    assert text_of(whole).encode()[text_offset:].decode() == text_of(rest)


async def test_a_resume_with_too_much_text_is_refused(engine: SupervisedEngine) -> None:
    """A client cannot have more text than its ids give."""
    with pytest.raises(ResumeRefused):
        await collect(engine, await request_of(engine, "Hi", resume_ids=(504,), text_offset=100))


async def test_stop_texts_end_the_answer(engine: SupervisedEngine) -> None:
    """The stop text is not part of the answer, though it spans tokens."""
    events = await collect(engine, await request_of(engine, FRANCE, stop=("of Fra", "zebra")))
    assert text_of(events) == "The capital "
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "stop"


async def test_a_seed_repeats_an_answer_whatever_else_runs(engine: SupervisedEngine) -> None:
    """Equal seeds give equal answers, alone, beside others and after a resume; another seed gives another."""
    fields: dict[str, object] = {"temperature": 1.5, "ignore_eos": True}
    request = await request_of(engine, "Tell me something.", seed=7, **fields)
    alone = ids_of(await collect(engine, request))
    beside, other = await asyncio.gather(
        collect(engine, request), collect(engine, replace(request, job_key="other", seed=8))
    )
    resumed = await collect(engine, replace(request, resume_ids=alone[:4], max_tokens=8))
    assert alone == ids_of(beside) == (*alone[:4], *ids_of(resumed))
    assert alone != ids_of(other)


async def test_logprobs_come_with_each_token(engine: SupervisedEngine) -> None:
    """The token's own and the asked number of alternatives, best first."""
    events = await collect(engine, await request_of(engine, FRANCE, logprobs=2))
    entries = [entry for event in events if isinstance(event, Tokens) for entry in event.logprobs or ()]
    assert tuple(entry.token_id for entry in entries) == ids_of(events)
    assert all(entry.logprob is not None and entry.logprob <= 0 and len(entry.top) == 2 for entry in entries)
    assert all(entry.top[0][0] == entry.token_id and entry.top[0][1] == entry.logprob for entry in entries)


async def _reused_tokens(engine: SupervisedEngine, text: str, owner: str) -> int:
    events = await collect(engine, await request_of(engine, text, cache_owner=owner, max_tokens=1))
    return next(event.step for event in events if isinstance(event, Progress))


async def test_cached_prompts_stay_with_their_client(engine: SupervisedEngine) -> None:
    """A client's repeated prompt is not computed again; another client's identical one is."""
    text = "The same long question about ships and shoes and sealing wax, of cabbages and kings?"
    assert await _reused_tokens(engine, text, "alice") == 0
    assert await _reused_tokens(engine, text, "alice") > 20
    assert await _reused_tokens(engine, text, "bob") == 0
    assert await _reused_tokens(engine, text, "") == 0


async def test_an_answer_after_reused_tokens_is_the_same(engine: SupervisedEngine) -> None:
    """What a row holds of an earlier job is exactly what would be computed again."""
    first, second = [
        await collect(engine, await request_of(engine, FRANCE, cache_owner="carol", max_tokens=8)) for _ in range(2)
    ]
    assert ids_of(first) == ids_of(second)


async def test_the_child_opens_no_socket(engine: SupervisedEngine) -> None:
    """Its only connection is the pipe to its parent."""
    assert engine.pid is not None
    assert psutil.Process(engine.pid).net_connections("inet") == []


async def test_kill_9_fails_the_job_and_the_next_works(engine: SupervisedEngine) -> None:
    """The job in flight reports the crash; after the restart the model answers again with the same fingerprint."""
    fingerprint = engine.info.fingerprint
    request = await request_of(engine, "Tell me a story.", max_tokens=300)
    async with aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Tokens):
                break
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(EngineCrashed, match="SIGKILL"):
            async for _ in events:
                pass
    await engine.wait_healthy()
    assert "Paris" in text_of(await collect(engine, await request_of(engine, FRANCE)))
    assert engine.info.fingerprint == fingerprint


@pytest.mark.full
async def test_a_damaged_checkpoint_is_reported(plan: EnginePlan, settings: EngineSettings, tmp_path: Path) -> None:
    """The child says why it cannot load it, and ends."""
    for file in Path(plan.root).iterdir():
        if file.is_file() and file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    engine = create_engine(replace(plan, root=str(tmp_path)), settings)
    with pytest.raises(EngineStartFailed, match="transformers cannot load smollm2-135m"):
        await engine.start()

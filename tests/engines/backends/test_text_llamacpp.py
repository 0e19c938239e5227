"""The real model (SmolLM2-135M) in a real child process."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from gpunode_engines.abilities import ALL_ABILITIES
from gpunode_engines.base import ChatMessage, Finished, GenerateRequest, PrepareRequest, Progress, Tokens
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import (
    ContextOverflow,
    EngineCrashed,
    EngineOverloaded,
    InvalidParameters,
    ResumeRefused,
    SchemaNotHeld,
)
from gpunode_engines.gguf import read_gguf_header
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.speed import LONG, SHORT
from gpunode_engines.supervisor import SupervisedEngine
from gpunode_engines.tool_calls import CALLS_MARK
from gpunode_engines.vocabulary import VOCABULARY_KEYS, Vocabulary

from tests.engines.scripted_engine import collect, ids_of, prepare, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOTS = 8
CONTEXT_TOKENS = 512


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SupervisedEngine]:
    """The model, loaded once for all tests of this file."""
    assert smollm2_path.is_file()
    folder = tmp_path_factory.mktemp("engine")
    settings = EngineSettings(
        models_dir=folder, cache_dir=folder, engine_slots=SLOTS, engine_context_tokens=CONTEXT_TOKENS
    )
    started = create_engine(plan_engine(resolve_model("smollm2-135m"), settings, detect_machine()), settings)
    await started.start()
    yield started
    await started.stop()


@pytest.fixture(scope="module")
def vocabulary(smollm2_path: Path) -> Vocabulary:
    """Token bytes, read from the file."""
    return Vocabulary.from_gguf(read_gguf_header(smollm2_path, VOCABULARY_KEYS))


async def request_of(engine: SupervisedEngine, text: str, **fields: object) -> GenerateRequest:
    """Return a greedy request of at most 32 tokens for one user message."""
    prompt = await prepare(engine, text)
    values: dict[str, object] = {
        "job_key": "job",
        "prompt_ids": prompt.token_ids,
        "max_tokens": 32,
        "temperature": 0.0,
    } | fields
    return GenerateRequest(**values)  # type: ignore[arg-type]  # -- tests pass fields of the request


async def test_it_knows_the_capital_of_france(engine: SupervisedEngine) -> None:
    """A greedy answer, ended by the model itself."""
    events = await collect(engine, await request_of(engine, "What is the capital of France?"))
    assert text_of(events) == "The capital of France is Paris."
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "stop"


@pytest.mark.parametrize(
    "sampling",
    [{"temperature": 0.0}, {"top_k": 40}, {"top_p": 0.9}, {"min_p": 0.05}, {}],
    ids=["greedy", "top_k", "top_p", "min_p", "all tokens"],
)
async def test_ids_and_text_agree(engine: SupervisedEngine, vocabulary: Vocabulary, sampling: dict[str, float]) -> None:
    """The bytes of the ids are the text, and the count is that of the ids, however tokens are chosen."""
    fields = {"temperature": 0.9, "seed": 7, "max_tokens": 12} | sampling
    events = await collect(engine, await request_of(engine, "Write one sentence about the sea.", **fields))
    assert b"".join(vocabulary.piece(token_id) for token_id in ids_of(events)).decode() == text_of(events)
    assert isinstance(events[-1], Finished)
    assert events[-1].output_tokens == len(ids_of(events))


async def test_split_characters_keep_their_ids(engine: SupervisedEngine, vocabulary: Vocabulary) -> None:
    """Characters of several tokens arrive whole, with the id of every token."""
    events = await collect(engine, await request_of(engine, "Repeat exactly: 🎉🎉🎉 🦙 日本語", max_tokens=24))
    assert "🎉" in text_of(events)
    assert "\N{REPLACEMENT CHARACTER}" not in text_of(events)
    assert b"".join(vocabulary.piece(token_id) for token_id in ids_of(events)).decode() == text_of(events)
    emoji = await engine.prepare(PrepareRequest(messages=(ChatMessage(role="user", content="🎉"),)))
    plain = await engine.prepare(PrepareRequest(messages=(ChatMessage(role="user", content=""),)))
    own_ids = tuple(token_id for token_id in emoji.token_ids if token_id not in plain.token_ids)
    assert str(own_ids).strip("()") in str(ids_of(events))


async def test_the_prompt_is_rendered_and_counted(engine: SupervisedEngine) -> None:
    """Rendered bytes hold the conversation in the model's own form; control tokens are single ids."""
    prompt = await prepare(engine, "Hi there")
    assert prompt.rendered == b"<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.token_ids[0] == 1
    assert len(prompt.token_ids) < 15


async def test_cancel_takes_effect_within_a_few_tokens(engine: SupervisedEngine) -> None:
    """After a cancel only those come that were made while it went to the child, and the slot is free."""
    request = await request_of(engine, "Tell me a long story.", max_tokens=400, ignore_eos=True)
    after_cancel = 0
    cancelled = False
    async with aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Tokens):
                after_cancel += len(event.ids) if cancelled else 0
                if not cancelled:
                    await engine.cancel("job")
                    cancelled = True
            elif isinstance(event, Finished):
                assert event.reason == "cancelled"
    assert after_cancel <= 20  # mostly one; a child that has a core of a busy machine writes a few
    assert engine.active_jobs == 0


async def test_eight_streams_at_once(engine: SupervisedEngine) -> None:
    """All slots work together, and a ninth job is refused meanwhile."""
    requests = [
        await request_of(engine, f"Write about the number {number}.", job_key=f"job{number}", max_tokens=16)
        for number in range(SLOTS)
    ]
    one_more = await request_of(engine, "one more", job_key="ninth")
    jobs = [asyncio.create_task(collect(engine, request)) for request in requests]
    await asyncio.sleep(0)  # each task takes its slot before it first waits
    assert engine.active_jobs == SLOTS
    with pytest.raises(EngineOverloaded):
        await collect(engine, one_more)
    answers = await asyncio.gather(*jobs)
    assert all(ids_of(events) and isinstance(events[-1], Finished) for events in answers)


async def test_context_overflow_is_an_error(engine: SupervisedEngine) -> None:
    """One token more than fits is refused; what just fits is served whole."""
    request = await request_of(engine, "one two three", ignore_eos=True)
    room = CONTEXT_TOKENS - len(request.prompt_ids)
    with pytest.raises(ContextOverflow, match=f"at most {CONTEXT_TOKENS}"):
        await collect(engine, await request_of(engine, "one two three", max_tokens=room + 1))
    long_prompt = (request.prompt_ids * CONTEXT_TOKENS)[: CONTEXT_TOKENS - 4]
    events = await collect(
        engine, GenerateRequest(job_key="job", prompt_ids=long_prompt, max_tokens=4, temperature=0.0, ignore_eos=True)
    )
    assert len(ids_of(events)) == 4


@pytest.mark.parametrize(
    "received", [pytest.param(1, marks=pytest.mark.full), 5, pytest.param(9, marks=pytest.mark.full)]
)
async def test_resumed_answers_continue(engine: SupervisedEngine, received: int) -> None:
    """What comes after a resume is the rest of the uninterrupted answer: ids, text and reason."""
    question = "Repeat exactly: 🎉🎉🎉 and then say goodbye."
    whole = await collect(engine, await request_of(engine, question, max_tokens=20))
    seen, text_offset = [], 0
    for event in whole:
        if isinstance(event, Tokens) and len(seen) < received:
            seen += event.ids
            text_offset += len(event.text.encode())
    rest = await collect(
        engine,
        await request_of(engine, question, max_tokens=20 - len(seen), resume_ids=tuple(seen), text_offset=text_offset),
    )
    assert (*seen, *ids_of(rest)) == ids_of(whole)
    assert text_of(whole).encode()[text_offset:].decode() == text_of(rest)


async def test_resuming_in_mid_character_completes_it(engine: SupervisedEngine, vocabulary: Vocabulary) -> None:
    """Ids of half a character carry no text; the rest of the character comes with the next id."""
    question = "Repeat exactly: 🎉🎉🎉"
    whole = ids_of(await collect(engine, await request_of(engine, question, max_tokens=12)))
    cut = next(index for index, token_id in enumerate(whole) if vocabulary.piece(token_id)[-1:] == b"\x9f") + 1
    before = b"".join(vocabulary.piece(token_id) for token_id in whole[:cut]).decode(errors="ignore")
    rest = await collect(
        engine,
        await request_of(engine, question, max_tokens=4, resume_ids=whole[:cut], text_offset=len(before.encode())),
    )
    assert text_of(rest).startswith("🎉")


async def test_a_resume_with_too_much_text_is_refused(engine: SupervisedEngine) -> None:
    """A client cannot have more text than its ids give."""
    with pytest.raises(ResumeRefused):
        await collect(engine, await request_of(engine, "Hi", resume_ids=(504,), text_offset=100))


@pytest.mark.parametrize("token_id", [-1, 49_152, 2**32 - 1, 2**40])
async def test_ids_outside_the_vocabulary_are_refused(engine: SupervisedEngine, token_id: int) -> None:
    """llama.cpp would take their lowest 32 bits, and go on after another answer than the client has."""
    with pytest.raises(InvalidParameters, match="vocabulary"):
        await collect(engine, await request_of(engine, "Hi", resume_ids=(504, token_id)))
    with pytest.raises(InvalidParameters, match="vocabulary"):
        await collect(engine, await request_of(engine, "Hi", prompt_ids=(504, token_id)))
    assert engine.healthy


async def test_stop_texts_end_the_answer(engine: SupervisedEngine) -> None:
    """The stop text is not part of the answer, though it spans tokens."""
    request = await request_of(engine, "What is the capital of France?", stop=("of Fra", "zebra"))
    events = await collect(engine, request)
    assert text_of(events) == "The capital "
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "stop"


async def test_text_held_back_for_a_stop_is_not_lost(engine: SupervisedEngine) -> None:
    """An answer that ends like the beginning of a stop text is whole."""
    events = await collect(engine, await request_of(engine, "What is the capital of France?", stop=("Paris.!",)))
    assert text_of(events) == "The capital of France is Paris."


async def test_a_seed_repeats_an_answer(engine: SupervisedEngine) -> None:
    """Equal seeds give equal answers, another seed another."""
    fields: dict[str, object] = {"temperature": 1.5, "max_tokens": 16, "ignore_eos": True}
    first, again, other = [
        ids_of(await collect(engine, await request_of(engine, "Tell me something.", seed=seed, **fields)))
        for seed in (7, 7, 8)
    ]
    assert first == again != other


async def test_logprobs_come_with_each_token(engine: SupervisedEngine) -> None:
    """The token's own and the asked number of alternatives, best first."""
    events = await collect(engine, await request_of(engine, "What is the capital of France?", logprobs=2))
    entries = [entry for event in events if isinstance(event, Tokens) for entry in event.logprobs or ()]
    assert tuple(entry.token_id for entry in entries) == ids_of(events)
    assert all(entry.logprob is not None and entry.logprob <= 0 and len(entry.top) == 2 for entry in entries)
    assert entries[0].top[0][0] == entries[0].token_id


async def _reused_tokens(engine: SupervisedEngine, text: str, owner: str) -> int:
    events = await collect(engine, await request_of(engine, text, cache_owner=owner, max_tokens=1))
    return next(event.step for event in events if isinstance(event, Progress))


async def test_cached_prompts_stay_with_their_client(engine: SupervisedEngine) -> None:
    """A client's repeated prompt is not computed again; another client's identical one is."""
    text = "The same long question about ships and shoes and sealing wax, of cabbages and kings?"
    assert await _reused_tokens(engine, text, "alice") == 0
    assert await _reused_tokens(engine, text, "alice") > 0
    assert await _reused_tokens(engine, text, "bob") == 0
    assert await _reused_tokens(engine, text, "") == 0


async def test_speed_is_measured(engine: SupervisedEngine) -> None:
    """By a long job, or by a short one where the machine is slow."""
    speed = await engine.measure_speed()
    assert (speed.prompt_tokens, speed.output_tokens) in {SHORT, LONG}
    assert min(speed.prefill_tokens_per_s, speed.decode_tokens_per_s) > 0


async def test_kill_9_fails_the_job_and_the_next_works(engine: SupervisedEngine) -> None:
    """The job in flight reports the crash; after the restart the model answers again with the same fingerprint."""
    fingerprint, restarts = engine.info.fingerprint, engine.restarts
    async with aclosing(engine.generate(await request_of(engine, "Tell me a story.", max_tokens=300))) as events:
        async for event in events:
            if isinstance(event, Tokens):
                break
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(EngineCrashed, match="SIGKILL"):
            async for _ in events:
                pass
    await engine.wait_healthy()
    answer = await collect(engine, await request_of(engine, "What is the capital of France?"))
    assert "Paris" in text_of(answer)
    assert (engine.restarts, engine.info.fingerprint) == (restarts + 1, fingerprint)


async def test_threads_that_wait_soon_sleep(engine: SupervisedEngine) -> None:
    """Threads that turn in circles instead slow down other programs, and with them themselves, tenfold."""
    assert b"GOMP_SPINCOUNT=1000" in Path(f"/proc/{engine.pid}/environ").read_bytes().split(b"\0")


async def test_the_listener_needs_the_key(engine: SupervisedEngine) -> None:
    """llama.cpp's HTTP listener is on loopback and refuses whoever does not know the key."""
    assert engine.pid is not None
    listening = [
        connection.laddr
        for connection in psutil.Process(engine.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert [address.ip for address in listening] == ["127.0.0.1"]
    reader, writer = await asyncio.open_connection("127.0.0.1", listening[0].port)
    writer.write(b"GET /props HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    status = await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert status.split()[1] == b"401"


async def test_an_answer_is_held_to_a_schema(engine: SupervisedEngine) -> None:
    """The real model writes JSON after the schema, and every token has its id."""
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    request = await request_of(engine, "Capital of France?", json_schema=json.dumps(schema), max_tokens=100)
    events = await collect(engine, request)
    assert json.loads(text_of(events))["city"] in {"Paris", "Rome"}
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].output_tokens) == ("stop", len(ids_of(events)))


async def test_a_schema_that_cannot_be_held_fails_the_job(engine: SupervisedEngine) -> None:
    """llama.cpp answers such jobs freely; that must not pass for the answer that was asked for."""
    schema = json.dumps({"type": "object", "not": {"required": ["a"]}, "if": True, "dependentSchemas": {"a": {}}})
    request = await request_of(engine, "What is the capital of France?", json_schema=schema)
    with pytest.raises(SchemaNotHeld, match="does not follow json_schema"):
        await collect(engine, request)


async def test_a_schema_of_a_billion_items_costs_nothing(engine: SupervisedEngine) -> None:
    """llama.cpp would write a grammar of as many rules, until its process is ended. A bound without effect is none."""
    bomb = await request_of(engine, "hi", json_schema='{"type": "array", "minItems": 1000000000}')
    with pytest.raises(InvalidParameters, match="asks for 1000000000 items"):
        await collect(engine, bomb)
    schema = {"type": "array", "items": {"enum": [7]}, "minItems": 1, "maxItems": 10**9}
    events = await collect(engine, await request_of(engine, "hi", json_schema=json.dumps(schema)))
    assert text_of(events).startswith("[")


@pytest.mark.full
async def test_a_schema_that_takes_long_to_check_costs_its_own_job(engine: SupervisedEngine) -> None:
    """The engine lives, and with it everybody else's jobs."""
    parts: dict[str, object] = {"p0": {"enum": [7]}}
    for number in range(1, 40):
        parts[f"p{number}"] = {"allOf": [{"$ref": f"#/$defs/p{number - 1}"}] * 2}
    restarts = engine.restarts
    job = await request_of(engine, "hi", json_schema=json.dumps({"$defs": parts, "$ref": "#/$defs/p39"}))
    with pytest.raises(SchemaNotHeld, match="takes too long to check"):
        await collect(engine, job)
    assert (engine.healthy, engine.restarts) == (True, restarts)


async def test_a_forced_call(engine: SupervisedEngine) -> None:
    """The real model calls the function with arguments after its parameters."""
    parameters = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    tools = json.dumps([{"type": "function", "function": {"name": "weather", "parameters": parameters}}])
    messages = (ChatMessage(role="user", content="Is it warm in Paris?"),)
    prompt = await engine.prepare(PrepareRequest(messages=messages, tools=tools, tool_choice='"required"'))
    assert b'"name": "weather"' in prompt.rendered
    request = GenerateRequest(
        job_key="job",
        prompt_ids=prompt.token_ids,
        max_tokens=100,
        temperature=0.0,
        tools=tools,
        tool_choice='"required"',
    )
    events = await collect(engine, request)
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "tool_calls"
    function = json.loads(text_of(events).removeprefix(CALLS_MARK))[0]["function"]
    assert function["name"] == "weather"
    assert json.loads(function["arguments"])["city"] in {"Paris", "Rome"}


async def test_its_abilities_are_known(engine: SupervisedEngine) -> None:
    """The child reports them."""
    assert engine.info.abilities == ALL_ABILITIES

"""The backend for servers of OpenAI's interface, in the real confined child, beside a real llama.cpp server."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode_engines.backends.text_openai import UNKNOWN_ID
from gpunode_engines.base import ChatMessage, Finished, GenerateRequest, PrepareRequest, Tokens
from gpunode_engines.catalogue import CatalogueEntry, ServerSource
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.errors import ContextOverflow, EngineStartFailed, InvalidParameters, ResumeRefused
from gpunode_engines.gguf import read_gguf_header
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import SupervisedEngine
from gpunode_engines.tool_calls import CALLS_MARK
from gpunode_engines.vocabulary import VOCABULARY_KEYS, Vocabulary
from gpunode_protocol.tasks import Task

from tests.engines.scripted_engine import collect, ids_of, text_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVER = Path(__file__).with_name("llamacpp_http.py")
FRANCE = PrepareRequest(messages=(ChatMessage(role="user", content="What is the capital of France?"),))


def entry_of(url: str, model: str = "smol") -> CatalogueEntry:
    """Return what stands in the owner's models file."""
    return CatalogueEntry(
        name="served",
        task=Task.LLM,
        backend="openai",
        licence="Apache-2.0",
        parameters=135_000_000,
        bits_per_weight=5.0,
        context_tokens=4096,
        slots=2,
        source=ServerSource(kind="server", url=url, model=model, api_key="secret"),
    )


def engine_of(entry: CatalogueEntry, folder: Path) -> SupervisedEngine:
    """Return the engine, not started."""
    settings = EngineSettings(models_dir=folder, cache_dir=folder)
    return create_engine(plan_engine(entry, settings, detect_machine()), settings)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(smollm2_path: Path) -> AsyncIterator[str]:
    """A running server."""
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), str(smollm2_path), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    assert server.stdout is not None
    assert server.stdin is not None
    try:
        yield (await server.stdout.readline()).decode().strip()
    finally:
        server.kill()
        await server.wait()
        server.stdin.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SupervisedEngine]:
    """The engine in its confined child."""
    started = engine_of(entry_of(f"{url}/v1"), tmp_path_factory.mktemp("engine"))
    await started.start()
    yield started
    await started.stop()


async def job(engine: SupervisedEngine, conversation: PrepareRequest = FRANCE, **fields: object) -> GenerateRequest:
    """Return a greedy request."""
    prompt = await engine.prepare(conversation)
    values: dict[str, object] = {
        "job_key": "job",
        "prompt_ids": prompt.token_ids,
        "max_tokens": 32,
        "temperature": 0.0,
        "conversation": conversation,
    }
    return GenerateRequest(**values | fields)  # type: ignore[arg-type]  # -- tests pass fields of the request


async def test_what_the_server_says_of_itself_is_known(engine: SupervisedEngine) -> None:
    """Its kind and context; the child has no more rights than any other."""
    info = engine.info
    assert (info.backend_version, info.context_tokens, info.memory_bytes) == ("llama.cpp", 512, 0)
    assert info.needs_conversation
    assert info.confinement.level == 3


async def test_ids_and_text_are_the_servers(engine: SupervisedEngine, smollm2_path: Path) -> None:
    """The bytes of the ids are the text, and the prompt is counted as the server counts it."""
    request = await job(engine)
    events = await collect(engine, request)
    vocabulary = Vocabulary.from_gguf(read_gguf_header(smollm2_path, VOCABULARY_KEYS))
    assert b"".join(map(vocabulary.piece, ids_of(events))).decode() == text_of(events)
    assert "Paris" in text_of(events)
    assert events[-1] == Finished(
        reason="stop", prompt_tokens=len(request.prompt_ids), output_tokens=len(ids_of(events))
    )


async def test_stop_texts_limits_and_logprobs(engine: SupervisedEngine) -> None:
    """As of the other backends."""
    stopped = await collect(engine, await job(engine, stop=("Paris",)))
    assert "Paris" not in text_of(stopped)
    assert isinstance(stopped[-1], Finished)
    assert stopped[-1].reason == "stop"
    short = await collect(engine, await job(engine, max_tokens=3, logprobs=2))
    assert isinstance(short[-1], Finished)
    assert (short[-1].reason, len(ids_of(short))) == ("length", 3)
    entries = [entry for event in short if isinstance(event, Tokens) for entry in event.logprobs or ()]
    assert tuple(entry.token_id for entry in entries) == ids_of(short)
    assert {len(entry.top) for entry in entries} == {2}


async def test_an_answer_follows_a_schema(engine: SupervisedEngine) -> None:
    """The server holds it to it."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    request = await job(engine, json_schema=json.dumps(schema | {"additionalProperties": False}), max_tokens=60)
    assert isinstance(json.loads(text_of(await collect(engine, request)))["n"], int)


async def test_a_forced_call(engine: SupervisedEngine) -> None:
    """Tools stand in the conversation, the schema of the call holds the answer, and the call is found in it."""
    parameters = {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"]}
    tools = json.dumps([{"type": "function", "function": {"name": "weather", "parameters": parameters}}])
    asked = PrepareRequest(messages=FRANCE.messages, tools=tools, tool_choice='"required"')
    events = await collect(engine, await job(engine, asked, tools=tools, tool_choice='"required"', max_tokens=100))
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "tool_calls"
    (call,) = json.loads(text_of(events).partition(CALLS_MARK)[2])
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("weather", {"city": "Paris"})


async def test_a_cancel_frees_the_slot(engine: SupervisedEngine) -> None:
    """The connection is cut, and the server goes on with the next job."""
    request = await job(engine, max_tokens=400, ignore_eos=True)
    async with aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Tokens):
                await engine.cancel("job")
            if isinstance(event, Finished):
                assert event.reason == "cancelled"
    assert engine.active_jobs == 0
    assert "Paris" in text_of(await collect(engine, await job(engine)))


async def test_what_is_too_long_is_refused(engine: SupervisedEngine) -> None:
    """Never cut."""
    request = await job(engine)
    with pytest.raises(ContextOverflow):
        await collect(engine, await job(engine, max_tokens=512 - len(request.prompt_ids) + 1))


async def test_answers_are_not_resumed(engine: SupervisedEngine) -> None:
    """Nobody here can know what the server would write."""
    with pytest.raises(ResumeRefused):
        await collect(engine, await job(engine, resume_ids=(1,)))


async def test_its_speed_is_measured(engine: SupervisedEngine) -> None:
    """As of every engine."""
    assert (await engine.measure_speed()).decode_tokens_per_s > 0


async def test_a_model_that_the_server_lacks(url: str, tmp_path: Path) -> None:
    """The message lists what it has."""
    with pytest.raises(EngineStartFailed, match=r"no model 'other', but: smol"):
        await engine_of(entry_of(url, "other"), tmp_path).start()


async def test_a_server_that_is_not_there(unused_tcp_port: int, tmp_path: Path) -> None:
    """The message asks whether it runs."""
    with pytest.raises(EngineStartFailed, match="is it running"):
        await engine_of(entry_of(f"http://127.0.0.1:{unused_tcp_port}"), tmp_path).start()


async def _plain_chat(request: web.Request) -> web.StreamResponse:
    """Answer as Ollama does: usage, and pieces of text without ids."""
    asked = await request.json()
    if not asked.get("stream"):
        return web.json_response({"choices": [], "usage": {"prompt_tokens": 11}})
    response = web.StreamResponse()
    await response.prepare(request)
    for delta in ({"content": "Par"}, {"content": "is"}, {"content": ""}):
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": None if delta["content"] else "stop"}]}
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    return response


async def test_a_server_without_ids(tmp_path: Path) -> None:
    """The prompt is counted by the server, and each piece of the answer counts as one token."""

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "smol"}]})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", _plain_chat)
    async with TestServer(app) as server:
        plain = engine_of(entry_of(str(server.make_url("/"))), tmp_path)
        await plain.start()
        try:
            assert plain.info.abilities == ("json_schema", "tools", "tool_choice")
            request = await job(plain)
            assert request.prompt_ids == (UNKNOWN_ID,) * 11
            events = await collect(plain, request)
            assert (text_of(events), ids_of(events)) == ("Paris", (UNKNOWN_ID,) * 2)
            with pytest.raises(InvalidParameters, match="takes no top_k"):
                await collect(plain, await job(plain, top_k=3))
        finally:
            await plain.stop()

"""What the backend makes of servers as vLLM, Ollama and others are known to answer; none of them runs here.

Sources: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html,
https://github.com/ollama/ollama/blob/main/docs/api.md and openai.md, https://github.com/ollama/ollama/issues/4967
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from gpunode_engines.backends import openai_client
from gpunode_engines.backends.text_openai import UNKNOWN_ID, OpenAiBackend
from gpunode_engines.base import ChatMessage, Event, Finished, GenerateRequest, PrepareRequest
from gpunode_engines.errors import BackendFailed, ContextOverflow, EngineStartFailed, InvalidParameters
from gpunode_engines.ipc import BackendOptions, Load, Loaded
from gpunode_engines.model_server import ModelServer
from gpunode_engines.tool_calls import CALLS_MARK
from gpunode_protocol.tasks import Task

from tests.engines.backends.dialect_server import Answer, Dialect, delta, served
from tests.engines.scripted_engine import ids_of, text_of

OLLAMA_MODELS: Answer = (200, {"object": "list", "data": [{"id": "llama3.2:latest", "owned_by": "library"}]})
VLLM_MODELS: Answer = (200, {"data": [{"id": "org/model", "owned_by": "vllm", "max_model_len": 4096}]})
OLLAMA = {
    "/v1/models": OLLAMA_MODELS,
    "/api/version": (200, {"version": "0.12.0"}),
    "/api/ps": (200, {"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest", "context_length": 200}]}),
}
VLLM = {"/v1/models": VLLM_MODELS, "/tokenize": (200, {"tokens": [1, 2, 3], "count": 3})}
ENDED = delta("stop", content="")


@contextmanager
def loaded(dialect: Dialect, monkeypatch: pytest.MonkeyPatch, model: str) -> Iterator[tuple[OpenAiBackend, Loaded]]:
    """A backend of such a server, in this process."""
    with served(dialect) as address:
        monkeypatch.setattr(openai_client, "connect_to_server", lambda: socket.create_connection(address))
        server = ModelServer(host=address[0], port=address[1], path="", model=model)
        options = BackendOptions(context_tokens=8192, slots=2, threads=1, use_gpu=False, server=server)
        backend = OpenAiBackend()
        order = Load(task=Task.LLM, backend="openai", model="mine", root="/", files=(), options=options)
        yield backend, backend.load(order)


def asking(text: str) -> PrepareRequest:
    """Return a conversation."""
    return PrepareRequest(messages=(ChatMessage(role="user", content=text),))


def answer(backend: OpenAiBackend, **fields: Any) -> list[Event]:
    """Run a job and return its events."""
    values = {"job_key": "job", "prompt_ids": (1,), "max_tokens": 50, "conversation": asking("hi")} | fields
    events: list[Event] = []
    backend.generate(GenerateRequest(**values), events.append, threading.Event())
    return events


def test_ollama_adds_a_tag_to_names_and_says_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name without it is that model, and is asked for by the name that it has there."""
    dialect = Dialect(OLLAMA, chunks=[delta(content="Par"), delta(content="is"), ENDED])
    with loaded(dialect, monkeypatch, "llama3.2") as (backend, info):
        assert (info.backend_version, info.context_tokens) == ("ollama", 200)
        events = answer(backend)
        assert (text_of(events), ids_of(events)) == ("Paris", (UNKNOWN_ID,) * 2)
        assert dialect.asked[-1][1]["model"] == "llama3.2:latest"
        with pytest.raises(InvalidParameters, match="takes no top_k"):
            answer(backend, top_k=3)


def test_what_ollama_would_cut_without_a_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts what is left; so a long prompt is counted in pieces before, and one that fits is served."""
    dialect = Dialect(OLLAMA, context_tokens=200)
    with loaded(dialect, monkeypatch, "llama3.2") as (backend, _):
        assert len(backend.prepare(asking("a " * 30)).token_ids) == 40
        assert len(backend.prepare(asking("word " * 180)).token_ids) == 190
        with pytest.raises(ContextOverflow, match="about 410 tokens; this node's server reads 200"):
            backend.prepare(asking("word " * 400))
        with pytest.raises(ContextOverflow):
            backend.prepare(asking("ä" * 200 + " ö" * 300))


def test_an_ollama_that_does_not_say_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones: what stands in the models file counts."""
    dialect = Dialect(OLLAMA | {"/api/ps": (200, {"models": [{"model": "llama3.2:latest"}]})})
    with loaded(dialect, monkeypatch, "llama3.2:latest") as (backend, info):
        assert info.context_tokens == 8192
        assert len(backend.prepare(asking("word " * 3_000)).token_ids) == 3_010


def test_vllm_names_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of prompts and answers; usage that comes in a last chunk without choices is no harm."""
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    chunk = delta("stop", content="Hi")
    chunk["choices"][0]["token_ids"] = [5, 6]
    dialect = Dialect(VLLM, chunks=[delta(role="assistant", content=""), chunk, usage], token_ids=True)
    with loaded(dialect, monkeypatch, "org/model") as (backend, info):
        assert (info.backend_version, info.context_tokens) == ("vllm", 4096)
        assert backend.prepare(asking("hi")).token_ids == (1, 2, 3)
        events = answer(backend, top_k=3)
        assert (text_of(events), ids_of(events)) == ("Hi", (5, 6))


@pytest.mark.parametrize("answers", [VLLM, {"/v1/models": VLLM_MODELS}])
def test_servers_that_state_a_context_as_vllm_does_and_name_no_tokens(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Answer]
) -> None:
    """vLLM before 0.10.2, SGLang: taken for a plain one, or answers would come without a token to pay."""
    dialect = Dialect(answers, chunks=[delta(content="Hi"), ENDED])
    with loaded(dialect, monkeypatch, "org/model") as (backend, info):
        assert (info.backend_version, info.context_tokens) == ("plain", 4096)
        assert len(backend.prepare(asking("hi")).token_ids) == 11
        assert ids_of(answer(backend)) == (UNKNOWN_ID,)


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_what_a_model_thinks_is_no_answer_and_counts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Else a job would seem to stand still for as long, and the limit of tokens would not hold."""
    dialect = Dialect(OLLAMA, chunks=[delta(**{name: "Hm."}), delta(**{name: "Yes."}), delta(content="42"), ENDED])
    with loaded(dialect, monkeypatch, "llama3.2") as (backend, _):
        events = answer(backend)
        assert (text_of(events), ids_of(events)) == ("42", (UNKNOWN_ID,) * 3)
        assert answer(backend, max_tokens=2)[-1] == Finished(reason="length", prompt_tokens=1, output_tokens=2)


def _call(name: str, arguments: str, **fields: Any) -> dict[str, Any]:
    return delta(tool_calls=[{"type": "function", "function": {"name": name, "arguments": arguments}, **fields}])


@pytest.mark.parametrize(
    "chunks",
    [
        [_call("a", "{}", index=0, id="x"), _call("b", '{"c": 1}', index=0, id="y")],
        [_call("a", "{}", index=0), _call("b", '{"c"', index=1), _call("", ": 1}", index=1)],
        [_call("a", "{}", index=None), _call("b", '{"c": 1}', index=None)],
        [_call("a", "{}"), _call("b", '{"c": 1}')],
    ],
    ids=["one index for all", "an index each", "null", "none"],
)
def test_calls_of_functions_come_whole_or_in_pieces(
    monkeypatch: pytest.MonkeyPatch, chunks: list[dict[str, Any]]
) -> None:
    """Ollama has numbered all of an answer's calls 0 (https://github.com/ollama/ollama/issues/15457), or none."""
    with loaded(Dialect(OLLAMA, chunks=[*chunks, ENDED]), monkeypatch, "llama3.2") as (backend, _):
        events = answer(backend)
    _, _, calls = text_of(events).partition(CALLS_MARK)
    told = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in json.loads(calls)]
    assert told == [("a", {}), ("b", {"c": 1})]


@pytest.mark.parametrize(
    "chunks",
    [
        [delta(content="Hi"), {"error": {"message": "my secret prompt", "type": "server_error"}}],
        [delta(content="Hi"), {"error": "my secret prompt"}],
        [delta(content="Hi"), {"object": "error", "message": "my secret prompt", "code": 500}],
        [delta(content="Hi"), delta("abort")],
        [delta(content="Hi")],
    ],
)
def test_an_answer_that_breaks_off_fails(monkeypatch: pytest.MonkeyPatch, chunks: list[dict[str, Any]]) -> None:
    """However it is said, and what was said is not passed on."""
    with loaded(Dialect(OLLAMA, chunks=chunks), monkeypatch, "llama3.2") as (backend, _):
        with pytest.raises(BackendFailed, match="sent again") as caught:
            answer(backend)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": {"message": "This model's maximum context length is 4096 tokens."}}, ContextOverflow),
        (400, {"object": "error", "message": "maximum context length is 4096 tokens", "code": 400}, ContextOverflow),
        (400, {"error": "the input length exceeds the context length"}, ContextOverflow),
        (400, "json: cannot unmarshal string into Go struct field", InvalidParameters),
        (404, "404 page not found", BackendFailed),
        (500, "Internal Server Error", BackendFailed),
        (503, "server busy, please try again. maximum pending requests exceeded", BackendFailed),
        (200, "<html>it works</html>", BackendFailed),
    ],
)
def test_refusals_in_json_or_in_plain_text(
    monkeypatch: pytest.MonkeyPatch, status: int, body: Any, error: type[Exception]
) -> None:
    """Each is told by its kind."""
    dialect = Dialect(OLLAMA)
    with loaded(dialect, monkeypatch, "llama3.2") as (backend, _):
        monkeypatch.setattr(dialect, "chat", lambda _: (status, body))
        with pytest.raises(error):
            answer(backend)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"/v1/models": (401, {"error": "Unauthorized"})}, "refuses the key; .* api_key"),
        ({"/v1/models": (200, "<html>it works</html>")}, "is it running"),
        ({}, "status 404"),
        ({"/v1/models": (200, {"object": "list", "data": None})}, "no model 'llama3.2', but: none"),
        ({"/v1/models": (200, {"data": [{"id": "llama3.2:1b"}]})}, "no model 'llama3.2', but: llama3.2:1b"),
    ],
)
def test_a_server_that_cannot_be_used_says_why(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Answer], words: str
) -> None:
    """At the start, with the server's address."""
    with (
        pytest.raises(EngineStartFailed, match=rf"The server of mine at 127\.0\.0\.1:\d+: .*{words}"),
        loaded(Dialect(answers), monkeypatch, "llama3.2"),
    ):
        pass

"""Counting what Ollama would cut; what comes of it for jobs: test_openai_dialects."""

from typing import Any

import pytest
from gpunode_engines.backends.ollama_context import count_prompt, loaded_context, raise_if_cut
from gpunode_engines.backends.openai_client import OpenAiClient
from gpunode_engines.errors import BackendFailed, ContextOverflow

FRAME = 10
"""Tokens of the template."""


class _Client:
    """Counts each byte that is no space as a token, and keeps what it was asked to count."""

    def __init__(self, usage: object = None, models: object = None) -> None:
        self.usage = usage
        self.models = models
        self.counted: list[str] = []

    def call(self, _method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Answer."""
        if path == "/api/ps":
            return {"models": self.models}
        assert body is not None
        assert body["max_tokens"] == 1
        text = str(body["messages"][0]["content"])
        self.counted.append(text)
        count = FRAME + len(text.replace(" ", "").encode())
        return {"usage": {"prompt_tokens": count} if self.usage is None else self.usage}


def _client(**fields: Any) -> tuple[OpenAiClient, _Client]:
    client = _Client(**fields)
    return client, client  # type: ignore[return-value]  # -- a stand-in with the method that is used


def _body(*texts: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text} for text in texts], **fields}


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": 0}, {"prompt_tokens": None}])
def test_a_server_that_does_not_count(usage: dict[str, Any]) -> None:
    """Nobody could be paid."""
    with pytest.raises(BackendFailed, match="does not count"):
        count_prompt(_client(usage=usage)[0], _body("a"))


@pytest.mark.parametrize(
    ("models", "context"),
    [([{"model": "o", "context_length": 7}, {"model": "m", "context_length": 9}], 9), ([{"model": "m"}], 0), (None, 0)],
)
def test_the_context_of_a_loaded_model(models: object, context: int) -> None:
    """Of the one that is asked for, once it is loaded; 0 where it is not told."""
    client, asked = _client(models=models)
    assert loaded_context(client, "m") == context
    assert len(asked.counted) == 1


def test_what_surely_fits_is_not_counted() -> None:
    """No token has less than a byte."""
    client, asked = _client()
    raise_if_cut(client, _body("a" * 50), 100)
    assert asked.counted == []


@pytest.mark.parametrize(("length", "fits"), [(90, True), (91, False)])
def test_all_of_it_is_counted_once(length: int, fits: bool) -> None:
    """With the template: 40 bytes, x, 20 and two line breaks; its pieces are the text."""
    client, asked = _client()
    try:
        raise_if_cut(client, _body("é" * 20, "x" * (length - 62), "a " * 20), 100)
        assert fits
    except ContextOverflow:
        assert not fits
    assert asked.counted[0] == "a"
    assert "".join(asked.counted[1:]).replace("\n", "").startswith("é" * 20 + "x")
    assert all(len(piece.encode()) <= 50 for piece in asked.counted)


def test_tools_are_counted_too() -> None:
    """They stand in the prompt."""
    client, asked = _client()
    with pytest.raises(ContextOverflow, match="reads 100"):
        raise_if_cut(client, _body("hi", tools=[{"name": "x" * 200}]), 100)
    assert any("xxx" in piece for piece in asked.counted)

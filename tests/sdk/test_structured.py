"""Answers that are more than text, in the client."""

import functools
import json
from typing import Any

import pytest
from gpunode._chat import llm_params
from gpunode._structured import CALLS_MARK, CallFilter, parse_answer, schema_of, split_calls
from gpunode.errors import AnswerUnusable, InvalidRequest
from gpunode_protocol import schema_check

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
CALLS = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
TOOLS = [{"type": "function", "function": {"name": "weather"}}]
ENDLESS: dict[str, Any] = {}
ENDLESS["x-own"] = ENDLESS
HELLO: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("response_format", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}, SCHEMA),
    ],
)
def test_openais_form_of_a_schema(response_format: Any, schema: Any) -> None:
    """Each of its types."""
    assert schema_of(None, response_format) == schema


def test_structure_is_signed_as_json_text() -> None:
    """Schema, tools, choice, and calls in messages."""
    talk: list[Any] = [*HELLO, {"role": "assistant", "content": None, "tool_calls": CALLS}]
    params = llm_params(talk, {"tools": TOOLS, "tool_choice": "auto"}, now=0)
    assert (params.messages[1].content, json.loads(params.messages[1].tool_calls or "")) == ("", CALLS)
    assert (json.loads(params.tools or ""), params.tool_choice) == (TOOLS, '"auto"')
    assert json.loads(llm_params(HELLO, {"json_schema": SCHEMA}, now=0).json_schema or "") == SCHEMA


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"json_schema": SCHEMA, "response_format": {"type": "text"}}, "not both"),
        ({"response_format": {"type": "xml"}}, "response_format must be"),
        ({"response_format": "json"}, "response_format must be"),
        ({"json_schema": {"type": "nonsense"}}, "not a JSON schema"),
        ({"json_schema": functools.reduce(lambda inner, _: {"not": inner}, range(500), {})}, "nested too deeply"),
        ({"json_schema": ENDLESS}, "json_schema cannot be written as JSON"),
        ({"json_schema": {"items": {"patternProperties": {"^x": {}}}}}, "patternProperties"),
        ({"tools": []}, "at least one function"),
        ({"tools": [{1, 2}]}, "tools cannot be written as JSON"),
        ({"logprobs": 21}, "logprobs"),
    ],
)
def test_what_is_not_valid_is_not_sent(options: Any, named: str) -> None:
    """The message names the argument."""
    with pytest.raises(InvalidRequest, match=named):
        llm_params(HELLO, options, now=0)


def test_an_answer_becomes_a_value() -> None:
    """After the schema."""
    assert parse_answer('{"age": 7}', json.dumps(SCHEMA)) == {"age": 7}


@pytest.mark.parametrize("text", ["seven", '{"age": "7"}', "[" * 100_000])
def test_a_node_that_ignores_the_schema_is_found_out(text: str) -> None:
    """The error carries the answer."""
    with pytest.raises(AnswerUnusable) as caught:
        parse_answer(text, json.dumps(SCHEMA))
    assert caught.value.text == text


def test_an_answer_that_takes_for_ever_to_check_hangs_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node chooses the answer."""
    monkeypatch.setattr(schema_check, "_PATTERNS_S", 0.2)
    with pytest.raises(AnswerUnusable, match="too long") as caught:
        parse_answer(json.dumps("a" * 60 + "!"), '{"pattern": "^(a|a)+$"}')
    assert caught.value.text


def test_calls_are_split_off() -> None:
    """The text before them stays."""
    assert split_calls(f"Let me see.{CALLS_MARK}{json.dumps(CALLS)}") == ("Let me see.", tuple(CALLS))


@pytest.mark.parametrize("text", ["", CALLS_MARK, f"{CALLS_MARK}[1]"])
def test_calls_that_cannot_be_read(text: str) -> None:
    """A node said that there are some."""
    with pytest.raises(AnswerUnusable):
        split_calls(text)


def test_a_stream_shows_no_calls() -> None:
    """They stand in the result."""
    calls = CallFilter()
    assert [calls.push(text) for text in ("Let me", f" see.{CALLS_MARK}[", "]")] == ["Let me", " see.", ""]

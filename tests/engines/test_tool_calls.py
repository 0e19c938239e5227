"""Calls in what models write."""

import json

import pytest
from gpunode_engines.tool_calls import CALLS_MARK, ToolCall, ToolCallReader, encode_calls

PARIS = ToolCall("weather", '{"city": "Paris"}')


def read(text: str, names: tuple[str, ...] = ("weather", "time")) -> tuple[str, tuple[ToolCall, ...]]:
    """Return text and calls of an answer that comes character by character."""
    reader = ToolCallReader(names)
    free = "".join(reader.push(character) for character in text)
    left, calls = reader.finish()
    return free + left, calls


@pytest.mark.parametrize(
    "written",
    [
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}',
        '<|python_tag|>{"name": "weather", "parameters": {"city": "Paris"}}',
        '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Paris"}}]',
        '  {"name": "weather", "parameters": {"city": "Paris"}}\n',
    ],
)
def test_the_forms_of_the_model_families(written: str) -> None:
    """Qwen and Hermes, Llama 3 with and without its tag, Mistral."""
    text, calls = read(written)
    assert (text.strip(), calls) == ("", (PARIS,))


def test_text_before_calls_stays() -> None:
    """It is part of the answer; several calls keep their order."""
    call = '<tool_call>{"name": "%s", "arguments": {}}</tool_call>'
    text, calls = read("Let me see. " + call % "time" + "\n" + call % "weather")
    assert text == "Let me see. "
    assert [call.name for call in calls] == ["time", "weather"]


@pytest.mark.parametrize(
    "written",
    [
        "It is warm in Paris, a < b <tool",
        '{"city": "Paris"}',
        '{"name": "launch", "arguments": {}}',
        '<tool_call>{"name": "weather", "arguments": "Paris"}</tool_call>',
        '<tool_call>{"name": "weather"',
        "[1, 2]",
        "[" * 10_000,
        "",
    ],
)
def test_what_is_no_call_is_text(written: str) -> None:
    """Nothing of it is lost."""
    assert read(written) == (written, ())


def test_text_is_not_held_back_longer_than_needed() -> None:
    """Only what may become a mark waits."""
    reader = ToolCallReader(("weather",))
    assert [reader.push(part) for part in ("Hello ", "<to", "p> there")] == ["Hello ", "", "<top> there"]


def test_calls_travel_in_openais_shape() -> None:
    """Ids differ among calls and jobs."""
    first = json.loads(encode_calls([PARIS, PARIS], "job").removeprefix(CALLS_MARK))
    other = json.loads(encode_calls([PARIS], "other").removeprefix(CALLS_MARK))
    assert first[0]["function"] == {"name": "weather", "arguments": '{"city": "Paris"}'}
    assert len({first[0]["id"], first[1]["id"], other[0]["id"]}) == 3

"""Answers that are more than text: JSON after a schema, and calls of functions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gpunode_protocol.schema_check import UNCHECKED, CheckTooLong, mismatch, schema_problem
from gpunode_protocol.schema_parts import parts_of
from pydantic import TypeAdapter, ValidationError

from gpunode.errors import AnswerUnusable, InvalidRequest
from gpunode.types import Message, ToolCall

CALLS_MARK: Final = "\x1e"
"""Between an answer's text and its calls, see docs/protocol.md."""

_CALLS: Final = TypeAdapter(tuple[ToolCall, ...])


def schema_of(json_schema: Any, response_format: Any) -> Any:
    """Return the schema that the caller gave in one form or the other, None for plain text.

    Raises:
        InvalidRequest: both forms, or an unknown one.
    """
    if response_format is None:
        return json_schema
    if json_schema is not None:
        raise InvalidRequest("Give json_schema or response_format, not both; nothing was sent.")
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    described = response_format.get("json_schema") if kind == "json_schema" else None
    if isinstance(described, Mapping) and described.get("schema") is not None:
        return described["schema"]
    raise InvalidRequest(
        'response_format must be {"type": "text"}, {"type": "json_object"} or '
        '{"type": "json_schema", "json_schema": {"schema": …}}; nothing was sent.'
    )


def check_schema(schema: Any) -> None:
    """Check a schema before it is sent. Raises InvalidRequest."""
    as_json(schema, "json_schema")  # what contains itself has parts without end
    problem = schema_problem(schema)
    if problem is not None:
        raise InvalidRequest(f"json_schema {problem}. Nothing was sent.")
    if any(UNCHECKED in part for part in parts_of(schema)):
        raise InvalidRequest(f"json_schema has {UNCHECKED}, which no node takes; name properties. Nothing was sent.")


def as_json(value: Any, name: str) -> str:
    """Return JSON text. Raises InvalidRequest."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{name} cannot be written as JSON, nothing was sent: {error}.") from error


def wire_message(message: Message) -> dict[str, Any]:
    """Return a message as it is signed: calls as JSON text, no content as empty text."""
    given: dict[str, Any] = {name: value for name, value in message.items() if value is not None}
    calls = given.pop("tool_calls", ())
    return given | ({"tool_calls": as_json(list(calls), "tool_calls")} if calls else {})


def parse_answer(text: str, schema_text: str) -> Any:
    """Return the value of a whole answer.

    Raises:
        AnswerUnusable: it does not follow the schema, whatever the node said, or that takes too long to find out.
    """
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 -- keep `gpunode --help` quick

    try:
        value = json.loads(text)
        problem = mismatch(value, json.loads(schema_text))
    except CheckTooLong as error:
        raise AnswerUnusable(
            "It takes too long to find out whether the answer follows the JSON schema: the schema names the same parts "
            "again and again, or has a pattern with many ways to match. Make it simpler.",
            text=text,
        ) from error
    except (ValueError, RecursionError, Unresolvable) as error:
        raise AnswerUnusable("The answer is not the JSON that was asked for; try again.", text=text) from error
    if problem is not None:
        raise AnswerUnusable(f"The answer does not follow the JSON schema: {problem[:200]}.", text=text)
    return value


def split_calls(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """Return the text of an answer with calls, and the calls.

    Raises:
        AnswerUnusable: the node sent none, or none that can be read.
    """
    content, _, calls = text.partition(CALLS_MARK)
    try:
        return content, _CALLS.validate_json(calls)
    except ValidationError as error:
        raise AnswerUnusable("The node's calls of functions cannot be read; try again.", text=text) from error


class CallFilter:
    """Takes the text of a stream and gives back what is no call."""

    def __init__(self) -> None:
        self._in_calls = False

    def push(self, text: str) -> str:
        """Return what a reader shall see of new text."""
        if self._in_calls:
            return ""
        content, mark, _ = text.partition(CALLS_MARK)
        self._in_calls = bool(mark)
        return content


def tools_text(tools: Sequence[Any]) -> str:
    """Return tools as JSON text. Raises InvalidRequest."""
    if isinstance(tools, str | bytes) or not tools:
        raise InvalidRequest("tools must be a list of at least one function; nothing was sent.")
    return as_json(list(tools), "tools")

"""Answers that are more than text: held to a JSON schema, or with calls of functions in them."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gpunode_engines.answer_schema import check_answer, read_answer_schema
from gpunode_engines.base import Event, Finished, GenerateRequest, Tokens
from gpunode_engines.schema_items import within_reach
from gpunode_engines.tool_calls import ToolCallReader, encode_calls
from gpunode_engines.tools import read_tools


def constraint_of(request: GenerateRequest) -> Any | None:
    """Return the JSON schema that the backend must hold the answer to, None if there is none.

    Raises:
        InvalidParameters: it is none, or asks for more than an answer has room for.
    """
    if request.tools is not None:
        text = read_tools(request.tools, request.tool_choice).call_schema()
        schema = None if text is None else json.loads(text)
    else:
        schema = None if request.json_schema is None else read_answer_schema(request.json_schema)
    return None if schema is None else within_reach(schema, request.max_tokens)


def structured(request: GenerateRequest, emit: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return what takes a backend's events in place of ``emit``; ``emit`` itself for plain text."""
    if request.tools is not None:
        return _ToolAnswer(request, emit)
    if request.json_schema is not None:
        return _SchemaAnswer(read_answer_schema(request.json_schema), emit)
    return emit


class _SchemaAnswer:
    """Passes everything on and checks the whole answer, unless it was cut off."""

    def __init__(self, schema: Any, emit: Callable[[Event], None]) -> None:
        self._schema = schema
        self._emit = emit
        self._texts: list[str] = []

    def __call__(self, event: Event) -> None:
        """Take an event. Raises SchemaNotHeld when the answer does not follow the schema."""
        if isinstance(event, Tokens):
            self._texts.append(event.text)
        elif isinstance(event, Finished) and event.reason == "stop":
            check_answer("".join(self._texts), self._schema)
        self._emit(event)


class _ToolAnswer:
    """Keeps back text that may be a call; at the end there are calls, or it was text after all."""

    def __init__(self, request: GenerateRequest, emit: Callable[[Event], None]) -> None:
        tools = read_tools(request.tools or "", request.tool_choice)
        self._reader = ToolCallReader(() if tools.choice == "none" else tools.names)
        self._job_key = request.job_key
        self._emit = emit

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, Tokens):
            event = replace(event, text=self._reader.push(event.text))
        elif isinstance(event, Finished):
            event = self._end(event)
        self._emit(event)

    def _end(self, event: Finished) -> Finished:
        text, calls = self._reader.finish(is_whole=event.reason == "stop")
        if calls:
            self._emit(Tokens(ids=(), text=text + encode_calls(calls, self._job_key)))
            return replace(event, reason="tool_calls")
        if text:
            self._emit(Tokens(ids=(), text=text))
        return event

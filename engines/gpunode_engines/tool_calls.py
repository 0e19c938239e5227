"""Finding calls of functions in what a model writes, while it writes."""

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from gpunode_engines.text_assembly import overlap

CALLS_MARK = "\x1e"
"""Between an answer's text and its calls, which follow as a JSON list in OpenAI's shape (RFC 7464's separator)."""

_MARKS = ("<tool_call>", "<|python_tag|>", "[TOOL_CALLS]")
"""Qwen and Hermes; Llama 3; Mistral. Models also write bare JSON."""
_TAGGED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call. arguments: JSON text of an object."""

    name: str
    arguments: str


class ToolCallReader:
    """Feeds on the text of one answer. Text that may be a call is held back until the answer's end."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._held = ""
        self._is_start = True

    def push(self, text: str) -> str:
        """Take new text and return what is certainly no call."""
        self._held += text
        if self._is_start and (not self._held.strip() or self._held.lstrip()[0] in "{["):
            return ""
        self._is_start = False
        starts = [at for mark in _MARKS if (at := self._held.find(mark)) >= 0]
        keep_from = min(starts) if starts else len(self._held) - max(overlap(self._held, mark) for mark in _MARKS)
        free, self._held = self._held[:keep_from], self._held[keep_from:]
        return free

    def finish(self, *, is_whole: bool = True) -> tuple[str, tuple[ToolCall, ...]]:
        """Return the text that is left, and the calls; what is no valid call of a known function is text.

        is_whole: the answer was not cut off; otherwise there are no calls.
        """
        calls = self._calls() if is_whole else ()
        return ("" if calls else self._held, calls)

    def _calls(self) -> tuple[ToolCall, ...]:
        try:
            found = [call for part in _parts(self._held) for call in _objects(part)]
        except (ValueError, RecursionError):
            return ()
        calls = [_call_of(value) for value in found]
        return tuple(call for call in calls if call) if all(c and c.name in self._names for c in calls) else ()


def encode_calls(calls: Collection[ToolCall], job_key: str) -> str:
    """Return calls as they travel at the end of an answer. job_key: makes their ids unique."""
    return CALLS_MARK + json.dumps(
        [
            {
                "id": f"call_{hashlib.blake2b(f'{job_key}:{index}'.encode(), digest_size=12).hexdigest()}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(calls)
        ]
    )


def _parts(text: str) -> list[str]:
    tagged = _TAGGED.findall(text)
    if tagged:
        return tagged
    for mark in _MARKS:
        text = text.replace(mark, "")
    return [text]


def _objects(text: str) -> list[Any]:
    """Return the JSON values in a text, lists spread out. Raises ValueError for anything else in it."""
    values: list[Any] = []
    text = text.strip()
    while text:
        value, end = _DECODER.raw_decode(text)
        values.extend(value if isinstance(value, list) else [value])
        text = text[end:].strip(" \n\r\t;")
    return values


def _call_of(value: Any) -> ToolCall | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    return ToolCall(value["name"], json.dumps(arguments)) if isinstance(arguments, dict) else None

"""Conversations with tools, for chat templates: those that know tools, and those that only know texts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpunode_engines.answer_schema import read_answer_schema
from gpunode_engines.base import ChatMessage, PrepareRequest
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.tools import ToolSet, read_tools

_INSTRUCTIONS = """You may call these functions. Each line describes one:
{tools}
To call one, answer with only this, and nothing else:
<tool_call>
{{"name": "the function's name", "arguments": {{"argument": "value"}}}}
</tool_call>"""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a template is given. tools: definitions, empty where the messages say all."""

    messages: list[dict[str, Any]]
    tools: tuple[dict[str, Any], ...] = ()


def conversation_of(request: PrepareRequest, *, template_knows_tools: bool) -> Conversation:
    """Return a request's messages and tools for a template.

    Raises:
        InvalidParameters: tools, schema or calls are not what they should be.
    """
    tools = None if request.tools is None else read_tools(request.tools, request.tool_choice)
    if request.json_schema is not None:
        if tools is not None:
            raise InvalidParameters("json_schema and tools exclude each other; leave one out.")
        read_answer_schema(request.json_schema)
    if not template_knows_tools:
        return Conversation(plain_messages(request.messages, tools))
    shown = tools.definitions if tools is not None and tools.choice != "none" else ()
    return Conversation(template_messages(request.messages), shown)


def knows_tools(template: str) -> bool:
    """Whether a chat template takes tools itself."""
    return "tools" in template


def template_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Return messages as templates that know tools take them: arguments of calls as objects."""
    return [_template_message(message) for message in messages]


def plain_messages(messages: Sequence[ChatMessage], tools: ToolSet | None) -> list[dict[str, Any]]:
    """Return messages for templates that know texts only: tools, calls and results are written out in them.

    The form is that of Qwen and Hermes models, which many others have seen in training too.
    """
    plain = [_plain_message(message) for message in messages]
    if tools is None or tools.choice == "none":
        return plain
    listed = "\n".join(json.dumps(definition["function"]) for definition in tools.definitions)
    instructions = _INSTRUCTIONS.format(tools=listed)
    if plain and plain[0]["role"] == "system":
        return [{"role": "system", "content": f"{plain[0]['content']}\n\n{instructions}"}, *plain[1:]]
    return [{"role": "system", "content": instructions}, *plain]


def _template_message(message: ChatMessage) -> dict[str, Any]:
    value: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        calls = _calls_of(message.tool_calls)
        value["tool_calls"] = [{"type": "function", "function": call} for call in calls]
    if message.tool_call_id:
        value["tool_call_id"] = message.tool_call_id
    if message.name:
        value["name"] = message.name
    return value


def _plain_message(message: ChatMessage) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "user", "content": f"<tool_response>\n{message.content}\n</tool_response>"}
    calls = [f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in _calls_of(message.tool_calls)]
    return {"role": message.role, "content": "\n".join([*([message.content] if message.content else []), *calls])}


def _calls_of(text: str) -> list[dict[str, Any]]:
    """Return name and arguments of each call in an assistant's message. Raises InvalidParameters."""
    if not text:
        return []
    try:
        functions = [call["function"] for call in json.loads(text)]
        return [{"name": str(each["name"]), "arguments": _arguments(each["arguments"])} for each in functions]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise InvalidParameters("The tool_calls of a message are not in OpenAI's shape.") from error


def _arguments(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value

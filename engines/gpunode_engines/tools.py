"""Functions of the caller that a model may call, and which of them it must: OpenAI's shape, as JSON text."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from gpunode_protocol.schema_check import MOST_PARTS
from gpunode_protocol.schema_parts import count_parts

from gpunode_engines.answer_schema import read_schema
from gpunode_engines.errors import InvalidParameters

_MAX_TOOLS = 128
"""As many as OpenAI's interface takes."""


@dataclass(frozen=True, slots=True)
class ToolSet:
    """What may be called.

    definitions: in OpenAI's shape. names: of the functions, in order. choice: ``auto`` the model decides, ``required``
    one of them must be called, ``none`` none may. forced: the function that must be called, empty = any.
    """

    definitions: tuple[dict[str, Any], ...]
    names: tuple[str, ...]
    choice: Literal["auto", "required", "none"]
    forced: str = ""

    def call_schema(self) -> str | None:
        """Return the JSON schema that makes an answer one call, None where the model may decide."""
        if self.choice != "required":
            return None
        functions = [definition["function"] for definition in self.definitions]
        calls = [_call_of(function) for function in functions if self.forced in ("", function["name"])]
        return json.dumps(calls[0] if len(calls) == 1 else {"anyOf": calls})


def read_tools(tools: str, choice: str | None) -> ToolSet:
    """Read ``tools`` and ``tool_choice`` of a request.

    Raises:
        InvalidParameters: naming what is wrong.
    """
    definitions = _json(tools, "tools")
    if not isinstance(definitions, list) or not 1 <= len(definitions) <= _MAX_TOOLS:
        raise InvalidParameters(f"tools must be a list of 1 to {_MAX_TOOLS} functions.")
    if count_parts(definitions) > MOST_PARTS:
        raise InvalidParameters(f"tools have more than {MOST_PARTS:,} schemas in them.")
    names = tuple(_name_of(definition) for definition in definitions)
    if len(set(names)) < len(names):
        raise InvalidParameters("Two tools have the same name.")
    return _chosen(tuple(definitions), names, "auto" if choice is None else _json(choice, "tool_choice"))


def forces_a_call(choice: str | None) -> bool:
    """Whether ``tool_choice``, JSON text, leaves the model no choice."""
    return choice is not None and choice.strip() not in ('"auto"', '"none"')


def _chosen(definitions: tuple[dict[str, Any], ...], names: tuple[str, ...], choice: Any) -> ToolSet:
    if choice in ("auto", "required", "none"):
        return ToolSet(definitions, names, choice)
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    if not isinstance(function, dict) or function.get("name") not in names:
        raise InvalidParameters("tool_choice must be auto, required, none, or name one of the tools.")
    return ToolSet(definitions, names, "required", function["name"])


def _name_of(definition: Any) -> str:
    function = definition.get("function") if isinstance(definition, dict) else None
    if not isinstance(function, dict) or definition.get("type") != "function":
        raise InvalidParameters('Each tool must look like {"type": "function", "function": {"name": …}}.')
    name, parameters = function.get("name"), function.get("parameters", {})
    if not isinstance(name, str) or not 1 <= len(name) <= 64 or not isinstance(parameters, dict):
        raise InvalidParameters("Each function needs a name of 1 to 64 characters; parameters is a JSON schema.")
    read_schema(json.dumps(parameters))
    return name


def _call_of(function: dict[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters") or {"type": "object", "properties": {}, "additionalProperties": False}
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": parameters},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _json(text: str, name: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half a character, which JSON can name, nothing can write
    except (ValueError, RecursionError) as error:
        raise InvalidParameters(f"{name} is not valid JSON, or nested too deeply.") from error
    return value

"""Tools and the choice among them, as requests name them."""

import json
from typing import Any

import pytest
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.tools import forces_a_call, read_tools


def tool(name: str = "weather", parameters: Any = None) -> dict[str, Any]:
    """Return a function in OpenAI's shape."""
    function: dict[str, Any] = {"name": name}
    return {"type": "function", "function": function | ({} if parameters is None else {"parameters": parameters})}


def test_the_model_decides_unless_told_otherwise() -> None:
    """Without tool_choice nothing is forced."""
    tools = read_tools(json.dumps([tool(), tool("time")]), None)
    assert (tools.names, tools.choice, tools.call_schema()) == (("weather", "time"), "auto", None)


def test_a_required_call_is_one_of_all() -> None:
    """The schema takes a call of any function."""
    schema = json.loads(read_tools(json.dumps([tool(), tool("time")]), '"required"').call_schema() or "")
    assert [call["properties"]["name"]["const"] for call in schema["anyOf"]] == ["weather", "time"]


def test_a_named_function_is_forced_with_its_parameters() -> None:
    """The schema takes a call of this function with arguments after its parameters."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    choice = json.dumps({"type": "function", "function": {"name": "weather"}})
    schema = json.loads(read_tools(json.dumps([tool("time"), tool("weather", parameters)]), choice).call_schema() or "")
    assert schema["properties"] == {"name": {"const": "weather"}, "arguments": parameters}


@pytest.mark.parametrize(
    ("tools", "choice", "named"),
    [
        ("{", None, "tools is not valid JSON"),
        ("[]", None, "list of 1 to 128"),
        (json.dumps([tool(parameters={"allOf": [{}] * 2_000})]), None, "more than 2,000 schemas"),
        ("[" * 100_000, None, "nested too deeply"),
        (json.dumps([tool("\ud83d")]), None, "tools is not valid JSON"),
        ("[1]", None, "must look like"),
        (json.dumps([tool("")]), None, "name of 1 to 64"),
        (json.dumps([tool("a", [])]), None, "parameters is a JSON schema"),
        (json.dumps([tool("a", {"type": "nonsense"})]), None, "not a JSON schema"),
        (json.dumps([tool("a"), tool("a")]), None, "same name"),
        (json.dumps([tool("a")]), '"b"', "tool_choice must be"),
        (json.dumps([tool("a")]), '{"type": "function", "function": {"name": "b"}}', "tool_choice must be"),
    ],
)
def test_what_is_wrong_is_named(tools: str, choice: str | None, named: str) -> None:
    """Each fault has its own words."""
    with pytest.raises(InvalidParameters, match=named):
        read_tools(tools, choice)


@pytest.mark.parametrize(
    ("choice", "forces"), [(None, False), ('"auto"', False), ('"none"', False), ('"required"', True)]
)
def test_only_some_choices_force_a_call(choice: str | None, forces: bool) -> None:
    """The others need no ability of the engine."""
    assert forces_a_call(choice) is forces

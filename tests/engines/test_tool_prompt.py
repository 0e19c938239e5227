"""Conversations with tools, as templates get them."""

import json

import pytest
from gpunode_engines.base import ChatMessage, PrepareRequest
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.tool_prompt import Conversation, conversation_of, knows_tools

TOOLS = json.dumps([{"type": "function", "function": {"name": "weather"}}])
CALLS = json.dumps([{"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}])
USER = ChatMessage(role="user", content="Is it warm?")
TALK = (
    USER,
    ChatMessage(role="assistant", content="", tool_calls=CALLS),
    ChatMessage(role="tool", content="20 C", tool_call_id="1", name="weather"),
)


def conversation(messages: tuple[ChatMessage, ...], *, knows: bool = True, **fields: str) -> Conversation:
    """Return what the template gets."""
    return conversation_of(PrepareRequest(messages=messages, **fields), template_knows_tools=knows)  # type: ignore[arg-type]  # -- texts only


def test_templates_that_know_tools_get_them() -> None:
    """Arguments are objects there; the result names its call."""
    given = conversation(TALK, tools=TOOLS)
    assert given.tools == tuple(json.loads(TOOLS))
    assert given.messages[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Paris"}}
    assert given.messages[2] == {"role": "tool", "content": "20 C", "tool_call_id": "1", "name": "weather"}


def test_other_templates_get_everything_as_text() -> None:
    """Tools in a system message, the call in the assistant's, the result in a user's."""
    given = conversation(TALK, knows=False, tools=TOOLS)
    assert given.tools == ()
    assert [message["role"] for message in given.messages] == ["system", "user", "assistant", "user"]
    assert '{"name": "weather"}' in given.messages[0]["content"]
    assert given.messages[2]["content"] == (
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    )
    assert given.messages[3]["content"] == "<tool_response>\n20 C\n</tool_response>"


def test_a_system_message_keeps_its_place() -> None:
    """The tools follow it in the same message."""
    given = conversation((ChatMessage(role="system", content="Be brief."), USER), knows=False, tools=TOOLS)
    assert len(given.messages) == 2
    assert given.messages[0]["content"].startswith("Be brief.\n\n")


@pytest.mark.parametrize("knows", [True, False])
def test_tools_that_must_not_be_called_are_not_shown(knows: bool) -> None:
    """With the choice none."""
    given = conversation((USER,), knows=knows, tools=TOOLS, tool_choice='"none"')
    assert given == Conversation([{"role": "user", "content": "Is it warm?"}])


def test_schema_and_tools_exclude_each_other() -> None:
    """An answer cannot be both."""
    with pytest.raises(InvalidParameters, match="exclude each other"):
        conversation((USER,), tools=TOOLS, json_schema="{}")


@pytest.mark.parametrize("calls", ["{", "[1]", '[{"function": {"name": "a", "arguments": "{"}}]', "3"])
def test_calls_that_cannot_be_read_are_refused(calls: str) -> None:
    """They come from the client."""
    with pytest.raises(InvalidParameters, match="OpenAI's shape"):
        conversation((ChatMessage(role="assistant", content="", tool_calls=calls),))


def test_a_template_that_knows_tools_mentions_them() -> None:
    """As all of the model hub's do."""
    assert knows_tools("{% if tools %}…{% endif %}")
    assert not knows_tools("{% for message in messages %}…{% endfor %}")

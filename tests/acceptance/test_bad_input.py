"""Requests that cannot be served are refused with a clear error, whether the client or the node notices."""

from typing import Any

import pytest
from gpunode import InferenceClient
from gpunode.errors import InvalidRequest, NoNodeFound, RequestRefused

from tests.acceptance.network import Network
from tests.acceptance.raw_peer import RawPeer

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("asia_goes_on_serving")]

HELLO = [{"role": "user", "content": "Hello"}]
CONTEXT = 4096


def test_an_unknown_model(client: InferenceClient) -> None:
    """The error names the model, and what is served instead."""
    with pytest.raises(NoNodeFound, match=r"No live node serves gpt-9.*serves smollm2-135m"):
        client.chat(messages=HELLO, model="gpt-9")


def test_an_unknown_task(client: InferenceClient) -> None:
    """The error lists the tasks."""
    with pytest.raises(InvalidRequest, match=r"no task 'poetry'.*llm, image_gen, whisper, embedding"):
        client.nodes(task="poetry")


def test_an_unknown_region(client: InferenceClient) -> None:
    """The error lists the regions."""
    with pytest.raises(InvalidRequest, match=r"no region 'atlantis'.*asia, europe"):
        client.chat(messages=HELLO, region="atlantis")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        pytest.param({"messages": []}, "messages", id="no messages"),
        pytest.param({"max_tokens": 0}, "max_tokens", id="max_tokens 0"),
        pytest.param({"max_tokens": -1}, "max_tokens", id="max_tokens -1"),
        pytest.param({"temperature": 3.0}, "temperature", id="temperature 3"),
        pytest.param({"temperature": float("nan")}, "temperature", id="temperature NaN"),
        pytest.param({"seed": -1}, "seed", id="seed -1"),
        pytest.param({"stop": [""]}, "stop", id="empty stop"),
        pytest.param({"messages": [{"role": "king", "content": "x"}]}, "role", id="role"),
        pytest.param({"messages": [{"role": "user", "content": 7}]}, "content", id="content"),
        pytest.param({"messages": [{"role": "user", "content": "x" * 1_200_000}]}, "content", id="2 MB"),
    ],
)
def test_arguments_that_are_not_valid(client: InferenceClient, arguments: dict[str, Any], what: str) -> None:
    """Nothing is sent; the error names the argument."""
    with pytest.raises(InvalidRequest, match=what):
        client.chat(**{"messages": HELLO, **arguments})


def test_more_tokens_than_the_context_has(client: InferenceClient) -> None:
    """The error says how much fits."""
    with pytest.raises(RequestRefused, match=f"at most {CONTEXT} fit") as caught:
        client.chat(messages=HELLO, max_tokens=CONTEXT)
    assert caught.value.code == "context_overflow"


def test_a_prompt_longer_than_the_context(client: InferenceClient) -> None:
    """Prompts are never cut."""
    with pytest.raises(RequestRefused, match="Shorten the prompt") as caught:
        client.chat(messages=[{"role": "user", "content": "word " * (CONTEXT + 100)}], max_tokens=1)
    assert caught.value.code == "context_overflow"


@pytest.mark.parametrize(
    ("changes", "code", "what"),
    [
        pytest.param({"model": "gpt-9"}, "unknown_model", "it serves smollm2-135m", id="model"),
        pytest.param({"task": "poetry"}, "unknown_task", "the tasks are llm, image_gen", id="task"),
        pytest.param({"task": "embedding"}, "task_not_allowed", "embedding", id="task of another grant"),
        pytest.param({"params": {"max_tokens": 0}}, "invalid_parameters", "max_tokens", id="max_tokens 0"),
        pytest.param({"params": {"max_tokens": CONTEXT}}, "context_overflow", "at most 4096", id="context"),
        pytest.param({"params": {"messages": ()}}, "invalid_parameters", "messages", id="no messages"),
        pytest.param({"params": {"tools": "[]"}}, "invalid_parameters", "tools", id="tools"),
        pytest.param({"fingerprint": b"f" * 32}, "fingerprint_mismatch", "other weights", id="other weights"),
    ],
)
def test_a_node_checks_for_itself(
    network: Network, raw: RawPeer, changes: dict[str, Any], code: str, what: str
) -> None:
    """A node does not rely on the client's checks."""
    node = network.nodes["asia"]
    answer = raw.ask(node, raw.request(node, raw.grant().grant, **changes)).error()
    assert answer.code == code
    assert what in answer.message

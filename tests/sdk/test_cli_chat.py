import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gpunode import cli_chat
from gpunode.cli import main
from gpunode.client import InferenceClient
from gpunode.errors import GpunodeError

from tests.sdk.world import World


@pytest.fixture(autouse=True)
def _client_of_the_world(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command talks to the network in memory."""

    def open_client(*_: object, **__: object) -> InferenceClient:
        return InferenceClient.from_config(world.config(), world.surroundings())

    monkeypatch.setattr(cli_chat, "open_client", open_client)


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets a test type lines at a terminal; after the last one comes Ctrl-D."""

    def typed(*lines: str) -> None:
        rest: Iterator[str] = iter(lines)

        def read(_prompt: str = "") -> str:
            try:
                return next(rest)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", read)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    return typed


def test_an_answer_goes_to_standard_output(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the answer; route and receipt go to standard error."""
    world.add_node(words=("Paris", "\x1b[2J."))
    assert main(["chat", "What?"]) == 0
    out, err = capsys.readouterr()
    assert out == "Paris[2J.\n"
    assert "in asia" in err
    assert re.search(r"receipt [0-9a-f]{64} verified", err)


def test_one_token_has_no_speed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said rather than "0 tokens/s"."""
    world.add_node(words=("Paris",))
    assert main(["chat", "What?"]) == 0
    assert "tokens/s" not in capsys.readouterr().err


def test_json_is_one_object(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Answer, route and receipt for programs; nothing else on standard output."""
    node = world.add_node()
    assert main(["chat", "What?", "--json", "--max-tokens", "9", "--temperature", "0", "--seed", "1"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["answer"] == "Paris is the capital."
    assert told["route"]["node_id"] == node.peer_id
    assert told["receipt"]["verified"] is True
    assert told["usage"] == {"prompt_tokens": 7, "completion_tokens": 4}
    params = node.jobs[0].request.body.params
    assert (params["max_tokens"], params["temperature_millionths"], params["seed"]) == (9, 0, 1)


def test_the_prompt_may_come_from_a_pipe(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``echo … | gpunode chat``, with a system message before it."""
    node = world.add_node()
    monkeypatch.setattr("sys.stdin", io.StringIO("from the pipe"))
    assert main(["chat", "--system", "Be brief."]) == 0
    capsys.readouterr()
    roles = [(message["role"], message["content"]) for message in node.jobs[0].request.body.params["messages"]]
    assert roles == [("system", "Be brief."), ("user", "from the pipe")]


@pytest.mark.parametrize("text", ["", " \n\t"])
@pytest.mark.parametrize("is_piped", [False, True])
def test_an_empty_message_is_not_paid_for(
    text: str, is_piped: bool, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether an argument or a pipe that brought nothing: misuse."""
    node = world.add_node()
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert main(["chat"] if is_piped else ["chat", text]) == 2
    assert "the message is empty" in capsys.readouterr().err
    assert node.jobs == []


def test_a_conversation_is_not_for_programs(
    world: World, type_in: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """``--json`` without a message at a terminal is misuse; nothing is read and nothing sent."""
    node = world.add_node()
    type_in("never read")
    assert main(["chat", "--json"]) == 2
    out, err = capsys.readouterr()
    assert (out, "--json needs a message" in err) == ("", True)
    assert node.jobs == []


def test_a_conversation_remembers(
    world: World, type_in: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Earlier messages are sent again; /new forgets them, an empty line is nothing, Ctrl-D ends."""
    node = world.add_node()
    type_in("first", "", "second", "/new", "third")
    assert main(["chat"]) == 0
    capsys.readouterr()
    counts = [len(job.request.body.params["messages"]) for job in node.jobs]
    assert counts == [1, 3, 1]


def test_a_failure_does_not_end_a_conversation(
    world: World, type_in: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is shown, and the message may be sent again."""
    type_in("anybody?", "/quit")
    assert main(["chat"]) == 0
    assert "No live node serves" in capsys.readouterr().err
    assert world.nodes == []


def test_a_failure_in_a_conversation_cannot_steer_the_terminal(
    type_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters in it come from the other side."""

    def fail(*_: object) -> None:
        raise GpunodeError("The tracker refused: \x1b[2J\u202ered")

    monkeypatch.setattr(cli_chat, "stream_answer", fail)
    type_in("anybody?", "/quit")
    assert main(["chat"]) == 0
    assert "The tracker refused: [2Jred" in capsys.readouterr().err


def test_a_failure_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a traceback; the exit code says that it failed."""
    assert main(["chat", "anybody?"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("gpunode: No live node serves")
    assert "Traceback" not in err

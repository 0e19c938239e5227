import json
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from gpunode.cli import main
from gpunode.client import InferenceClient
from gpunode.demo import chat_task, command, network
from gpunode.demo.children import Children, DemoFailed

from tests.sdk.world import World


class _Network:
    """Stands in for the running network: the client is of the world in memory."""

    def __init__(self, world: World, folder: Path) -> None:
        self.client = InferenceClient.from_config(world.config(state_dir=folder / "c"), world.surroundings())
        self.nodes = tuple(world.nodes)

    def wait_in_ledger(self, receipt_id: str) -> bool:
        """It is there."""
        return len(receipt_id) == 64

    def client_balance_microcredits(self) -> int:
        """What is left."""
        return 999_999_810

    def node_balance_microcredits(self, peer_id: str) -> int:
        """What was earned."""
        return 190 if peer_id == self.nodes[0].peer_id else 0


@pytest.fixture
def folders(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Replace the network's start; yields the temporary folders of the demos that ran."""
    made: list[Path] = []

    def start(folder: Path, children: Children, **options: Any) -> _Network:
        assert isinstance(children, Children)
        options["say"]("starting")
        made.append(folder)
        if not world.nodes:
            raise DemoFailed("The tracker ended early.")
        return _Network(world, folder)

    monkeypatch.setattr(network, "start_network", start)
    monkeypatch.setattr(tempfile, "tempdir", str(world.folder))
    yield made
    assert not any(folder.exists() for folder in made)


def test_json_is_exactly_one_object(world: World, folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """With the keys that the documentation names; progress goes to standard error."""
    node = world.add_node()
    assert main(["demo", "--json", "--prompt", "What is the capital of France?"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert set(told) == {
        "answer", "model", "nodes", "route", "ttft_ms", "tokens", "tokens_per_s", "receipt", "balances"
    }  # fmt: skip
    assert set(told["route"]) == {"node_id", "region", "rtt_ms", "path", "source"}
    assert told["route"]["node_id"] == node.peer_id
    assert told["answer"] == "Paris is the capital."
    assert (told["receipt"]["verified"], told["receipt"]["in_ledger"]) == (True, True)
    assert told["balances"] == {"client": 999.99981, "node": 0.00019}
    assert (told["nodes"], told["tokens"]) == (1, 4)
    assert "starting" in err
    assert len(folders) == 1


def test_for_people_there_is_a_table(
    world: World, folders: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default question where nobody can type one; answer, route, receipt and balances, no id cut."""
    monkeypatch.setenv("COLUMNS", "80")
    world.add_node()
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert chat_task.DEFAULT_PROMPT in out
    assert "Paris is the capital." in out
    assert "verified, in the ledger" in out
    assert "…" not in out
    assert folders


@pytest.mark.parametrize("options", [["--task", "whisper"], ["--nodes", "2"], ["--out", "a.png"]])
def test_what_the_queues_demo_does_not_show(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused before anything is started."""
    assert main(["demo", "--pull", *options]) == 2
    assert "--pull shows one chat" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--file", "a.wav"], "--task llm does nothing with --file"),
        (["--out", "a.png", "--file", "a.wav"], "--task llm does nothing with --out and --file"),
        (["--task", "image_gen", "--file", "a.png"], "--task image_gen does nothing with --file"),
        (["--task", "whisper", "--prompt", "Hi", "--file", "a.wav"], "--task whisper does nothing with --prompt"),
        (["--task", "whisper", "--out", "a.txt"], "--task whisper does nothing with --out"),
    ],
)
def test_options_of_other_tasks(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are refused, before anything is started: nobody is to believe that they had an effect."""
    assert main(["demo", *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_question_through_the_queue(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The queue's network instead of the mesh's, in a folder that is gone afterwards; its client is closed."""
    from gpunode.demo import queue_demo, queue_network

    closed: list[str] = []

    class _Client:
        def __enter__(self) -> "_Client":
            return self

        def __exit__(self, *_: object) -> None:
            closed.append("client")

    def start(folder: Path, children: Children, *, model: str, say: Any) -> Any:
        folders.append(folder)
        say(f"{len(children._children)} processes so far, {model}")
        return type("Network", (), {"client": _Client()})()

    monkeypatch.setattr(queue_network, "start_queue_network", start)
    monkeypatch.setattr(queue_demo, "ask_queue", lambda _, wish: typer.echo(f"{wish.prompt} {wish.as_json}"))
    assert main(["demo", "--pull", "--json", "--prompt", "Where?"]) == 0
    out, err = capsys.readouterr()
    assert (out, closed) == ("Where? True\n", ["client"])
    assert "0 processes so far, smollm2-135m" in err


def test_a_network_that_does_not_start_is_one_line(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """And leaves no folder."""
    assert main(["demo"]) == 1
    assert "The tracker ended early." in capsys.readouterr().err
    assert folders


def test_sigterm_leaves_through_every_finally() -> None:
    """As Ctrl-C does, with the shell's exit code; afterwards the handlers are the old ones."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, command._sigterm_as_exit():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before

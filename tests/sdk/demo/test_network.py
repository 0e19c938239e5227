import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gpunode.demo import network
from gpunode.demo.children import DemoFailed
from gpunode.demo.network import start_network
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

PEERS = [Identity.from_seed(bytes([number]) * 32).peer_id for number in (1, 2, 3, 4)]


class _Children:
    """Writes down what is started, and lets the processes be ready at once."""

    def __init__(self) -> None:
        self.started: dict[str, list[str]] = {}
        self.ran: list[str] = []

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """A daemon that writes its run.json."""
        self.started[name] = list(arguments)
        folder = Path(arguments[list(arguments).index("--data-dir") + 1])
        folder.mkdir(parents=True)
        run: dict[str, Any] = {"url": "http://127.0.0.1:8470"}
        if name != "tracker":
            region = arguments[list(arguments).index("--region") + 1]
            run = {"peer_id": PEERS[int(name[-1])], "region": region}
        (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")

    def run(self, name: str, arguments: Sequence[str]) -> str:
        """An operator's command."""
        self.ran.append(" ".join(arguments[:2]))
        return json.dumps({"account": "acc-1", "api_key": "key-1", "spendable_microcredits": 190, "name": name})

    def check(self) -> None:
        """All of them live."""


class _Client:
    """Finds the nodes in the DHT one look-up after the other."""

    def __init__(self, url: str, *, api_key: str, state_dir: Path) -> None:
        self.arguments = (url, api_key, state_dir.name)
        self.looks = 0
        self.closed = False

    def connect(self) -> None:
        """Joined."""

    def nodes(self, *, task: Task, model: str) -> list[Any]:
        """One node more each time; the tracker's index has all."""
        assert task is Task.LLM
        self.looks += 1
        return [
            type(
                "Node",
                (),
                {"node": peer, "source": "dht" if number < self.looks else "index", "model": model, "task": task},
            )()
            for number, peer in enumerate(PEERS)
        ]

    def close(self) -> None:
        """Left."""
        self.closed = True


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[_Children, network.DemoNetwork]:
    """A network of four nodes."""
    monkeypatch.setattr(network, "InferenceClient", _Client)
    monkeypatch.setattr(network, "_DHT_POLL_INTERVAL_S", 0.0)
    children: Any = _Children()
    said: list[str] = []
    made = start_network(tmp_path, children, nodes=4, task=Task.LLM, model="smollm2-135m", say=said.append)
    assert len(said) == 3
    return children, made


def test_what_is_started(started: tuple[_Children, network.DemoNetwork]) -> None:
    """A tracker first, then nodes in different regions with one thread each."""
    children, made = started
    assert list(children.started) == ["tracker", "node0", "node1", "node2", "node3"]
    assert children.started["tracker"][:2] == ["tracker", "start"]
    regions = [arguments[arguments.index("--region") + 1] for arguments in list(children.started.values())[1:]]
    assert regions == ["asia", "europe", "america", "africa"]
    node = children.started["node0"]
    assert node[node.index("--bootstrap") + 1] == "http://127.0.0.1:8470"
    assert node[node.index("--threads") + 1] == "1"
    assert children.ran == ["tracker create-account", "tracker create-key"]
    assert [item.region for item in made.nodes] == list(Region)[:4]


def test_it_waits_until_all_are_in_the_dht(started: tuple[_Children, network.DemoNetwork]) -> None:
    """The tracker's index does not count."""
    _, made = started
    client: Any = made.client
    assert client.looks == 4
    assert client.arguments == ("http://127.0.0.1:8470", "key-1", "c")


def test_balances(started: tuple[_Children, network.DemoNetwork]) -> None:
    """The node's own command tells what it has earned."""
    children, made = started
    assert made.node_balance_microcredits(PEERS[2]) == 190
    assert children.ran[-1] == "earnings --json"


def test_nodes_that_do_not_come_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is closed, and the error says how many came."""
    made: list[_Client] = []

    class _Blind(_Client):
        def nodes(self, *, task: Task, model: str) -> list[Any]:
            made.append(self)
            return super().nodes(task=task, model=model)[:0]

    monkeypatch.setattr(network, "InferenceClient", _Blind)
    monkeypatch.setattr(network, "START_TIMEOUT_S", 0.0)
    children: Any = _Children()
    with pytest.raises(DemoFailed, match="Only 0 of 2"):
        start_network(tmp_path, children, nodes=2, task=Task.LLM, model="m", say=lambda _: None)
    assert made[0].closed

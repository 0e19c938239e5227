"""The network of `gpunode demo --pull`: what is started, and what is proved of a receipt."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gpunode.demo import queue_network
from gpunode.demo.queue_network import Proved, QueueNetwork, start_queue_network
from gpunode.errors import TrackerError

from tests.sdk.demo.queue_server import JOB, RECEIPT

PEER = "12D3KooWworker"


class _Children:
    """Writes down what is started, and lets the processes be ready at once."""

    def __init__(self) -> None:
        self.started: dict[str, list[str]] = {}

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """A daemon that writes its run.json."""
        self.started[name] = list(arguments)
        folder = Path(arguments[list(arguments).index("--data-dir") + 1])
        folder.mkdir(parents=True)
        run = {"url": "http://127.0.0.1:8470"} if name == "tracker" else {"worker_id": "w", "peer_id": PEER}
        (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")

    def run(self, name: str, arguments: Sequence[str]) -> str:
        """An operator's command."""
        return json.dumps({"account": "a", "api_key": "k", "spendable_microcredits": 190, "name": name, "n": arguments})

    def check(self) -> None:
        """All of them live."""


def test_a_tracker_without_a_mesh_and_one_worker(tmp_path: Path) -> None:
    """Both on loopback; the worker is told of the tracker alone, and nothing of either joins a mesh."""
    children, said = _Children(), list[str]()
    network = start_queue_network(tmp_path, cast("Any", children), model="m", say=said.append)
    assert "--no-mesh" in children.started["tracker"]
    worker = children.started["worker"]
    assert worker[:2] == ["start", "--pull"]
    assert (worker[worker.index("--tracker") + 1], worker[worker.index("--model") + 1]) == (network.url, "m")
    assert (network.worker_id, network.worker_peer, network.api_key) == ("w", PEER, "k")
    assert network.worker_balance_microcredits() == 190
    assert len(said) == 3
    network.client.close()


def _network(*answers: object) -> QueueNetwork:
    """Return a network whose ledger gives these answers in turn."""
    left = list(answers)

    def receipt_proof(_: str) -> object:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(receipt=answer)

    balance = SimpleNamespace(spendable_microcredits=5, reserved_microcredits=2)
    client: Any = SimpleNamespace(receipt_proof=receipt_proof, balance=lambda: balance)
    return QueueNetwork(cast("Any", None), "u", "k", client, "w", PEER, Path("w"))


@pytest.fixture(autouse=True)
def _receipts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt is what it says: the client has verified its proof by then."""
    monkeypatch.setattr(queue_network, "read_body", lambda _model, receipt: SimpleNamespace(job=receipt, node=PEER))


def test_a_receipt_is_awaited() -> None:
    """It is verified where it is for this very job; what the ledger does not have in time is said."""
    pending = TrackerError("not yet", status=404)
    assert _network(pending, pending, JOB).prove(RECEIPT, JOB) == Proved(verified=True, in_ledger=True)
    assert _network("another job").prove(RECEIPT, JOB) == Proved(verified=False, in_ledger=True)
    with pytest.raises(TrackerError, match="broken"):
        _network(TrackerError("broken", status=500)).prove(RECEIPT, JOB)


def test_a_receipt_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo ends all the same."""
    monkeypatch.setattr(queue_network, "LEDGER_TIMEOUT_S", 0)
    assert _network("x").prove(RECEIPT, JOB) == Proved(verified=False, in_ledger=False)


def test_the_clients_balance_is_all_that_is_its_own() -> None:
    """Free and reserved."""
    assert _network("x").client_balance_microcredits() == 7

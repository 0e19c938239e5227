"""The demo's network: a tracker and nodes on loopback, an account, and the client that uses them."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from gpunode_protocol.mesh.config import LOOPBACK_ADDRESSES
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode.client import InferenceClient
from gpunode.demo.children import Children, DemoFailed
from gpunode.errors import TrackerError

START_TIMEOUT_S: Final = 90.0
"""For each stage; a slow machine needs a third of it."""
LEDGER_TIMEOUT_S: Final = 20.0
_POLL_INTERVAL_S: Final = 0.05
_DHT_POLL_INTERVAL_S: Final = 0.25

Say = Callable[[str], None]
"""Shows the user what is going on."""


@dataclass(frozen=True)
class DemoNode:
    """A running node."""

    name: str
    peer_id: str
    region: str
    data_dir: Path


@dataclass
class DemoNetwork:
    """A running network with a client. Make it with ``start_network``."""

    children: Children
    account: str
    client: InferenceClient
    nodes: tuple[DemoNode, ...]

    def wait_in_ledger(self, receipt_id: str) -> bool:
        """Wait until the ledger proves a receipt; return whether it did in time. The proof is verified."""
        deadline = time.monotonic() + LEDGER_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                self.client.receipt_proof(receipt_id)
            except TrackerError as error:
                if error.status not in {404, 503}:
                    raise
                time.sleep(_POLL_INTERVAL_S)
            else:
                return True
        return False

    def client_balance_microcredits(self) -> int:
        """Return what the account has: free and reserved."""
        balance = self.client.balance()
        return balance.spendable_microcredits + balance.reserved_microcredits

    def node_balance_microcredits(self, peer_id: str) -> int:
        """Return what a node has earned."""
        node = next(node for node in self.nodes if node.peer_id == peer_id)
        said = self.children.run(f"earnings-{node.name}", ["earnings", "--json", "--data-dir", str(node.data_dir)])
        earned: int = json.loads(said)["spendable_microcredits"]
        return earned


def start_network(folder: Path, children: Children, *, nodes: int, task: Task, model: str, say: Say) -> DemoNetwork:
    """Start a tracker, then the nodes all at once, and wait until every node is found in the DHT.

    Raises:
        DemoFailed: a process ended, or the network did not come up in time.
    """
    say("Starting a tracker")
    data_dir = folder / "t"
    url = start_tracker(data_dir, children)
    folders = [folder / f"n{number}" for number in range(nodes)]
    for number, (node_dir, region) in enumerate(zip(folders, cycle(Region), strict=False)):
        children.start(f"node{number}", _node_arguments(url, node_dir, region, model))
    say("Making an account with 1,000 credits")
    account, key = make_account(children, data_dir)
    client = InferenceClient(url, api_key=key, state_dir=folder / "c")
    try:
        who = "the node" if nodes == 1 else f"{nodes} nodes"
        say(f"Waiting for {who} to load {model} and to appear in the DHT")
        client.connect()
        found = (read_when_ready(node_dir, children) for node_dir in folders)
        ready = tuple(
            DemoNode(f"node{number}", run["peer_id"], run["region"], node_dir)
            for number, (node_dir, run) in enumerate(zip(folders, found, strict=True))
        )
        network = DemoNetwork(children, account, client, ready)
        _wait_in_dht(network, task, model)
    except BaseException:
        client.close()
        raise
    return network


def start_tracker(data_dir: Path, children: Children, *, mesh: bool = True) -> str:
    """Start a tracker on loopback and return its URL; by then it is the mesh's bootstrap peer too, if it has a mesh.

    Raises:
        DemoFailed: it ended, or was not ready in time.
    """
    options = ["--data-dir", str(data_dir), "--listen", "127.0.0.1:0"]
    if mesh:
        options += [part for address in LOOPBACK_ADDRESSES for part in ("--mesh-listen", address)]
    else:
        options.append("--no-mesh")
    children.start("tracker", ["tracker", "start", *options])
    return str(read_when_ready(data_dir, children)["url"])


def _node_arguments(url: str, data_dir: Path, region: Region, model: str) -> list[str]:
    """One thread an engine: several nodes share this machine's cores."""
    options = {"--bootstrap": url, "--region": region, "--data-dir": str(data_dir), "--model": model, "--threads": "1"}
    return ["start", *(part for option in options.items() for part in option)]


def make_account(children: Children, data_dir: Path) -> tuple[str, str]:
    """Return a new account's id and API key, from the tracker of ``data_dir``."""
    common = ["--json", "--data-dir", str(data_dir)]
    account = str(json.loads(children.run("account", ["tracker", "create-account", "demo", *common]))["account"])
    key = str(json.loads(children.run("key", ["tracker", "create-key", account, *common]))["api_key"])
    return account, key


def read_when_ready(data_dir: Path, children: Children) -> dict[str, Any]:
    """Wait for the file by which a process says that it is ready, and return its content."""
    path = data_dir / "run.json"
    deadline = time.monotonic() + START_TIMEOUT_S
    while not path.exists():
        children.check()
        if time.monotonic() > deadline:
            raise DemoFailed(
                f"{data_dir.name} was not ready within {START_TIMEOUT_S:.0f} s. Close other programs and try again, "
                "or use fewer nodes: --nodes 1."
            )
        time.sleep(_POLL_INTERVAL_S)
    run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return run


def _wait_in_dht(network: DemoNetwork, task: Task, model: str) -> None:
    """Wait until the client finds every node in the DHT."""
    wanted = {node.peer_id for node in network.nodes}
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        found = {node.node for node in network.client.nodes(task=task, model=model) if node.source == "dht"}
        if wanted <= found:
            return
        network.children.check()
        if time.monotonic() > deadline:
            raise DemoFailed(f"Only {len(wanted & found)} of {len(wanted)} nodes came into the DHT. Try again.")
        time.sleep(_DHT_POLL_INTERVAL_S)

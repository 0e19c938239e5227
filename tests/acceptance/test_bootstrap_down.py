"""The mesh's bootstrap peer is down while nodes and clients start: they begin without it, and join when it is back."""

import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.acceptance.network import MESH_ADDRESSES, MODEL, Network, status_of, tracker_arguments
from tests.acceptance.processes import Daemon, json_of, run_gpunode, wait_until

pytestmark = pytest.mark.acceptance

ASK = ("chat", "What is the capital of France?", "--max-tokens", "16", "--temperature", "0", "--json")


@pytest.fixture(scope="module")
def tracker(network: Network) -> Iterator[Daemon]:
    """Run a tracker of its own: the peers of the shared network would be other ways in."""
    daemon = Daemon(tracker_arguments("127.0.0.1:0", MESH_ADDRESSES), network.folder / "alone")
    try:
        run = daemon.wait_ready()
        addresses = sorted({address.partition("/p2p/")[0] for address in run["bootstrap"]})
        daemon.arguments = tracker_arguments(run["url"].removeprefix("http://"), addresses)
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture(scope="module")
def api_key(network: Network, tracker: Daemon) -> str:
    """Return a key of an account there."""
    options = ("--json", "--data-dir", str(tracker.data_dir))
    account = json_of(run_gpunode("tracker", "create-account", "alone", *options, home=network.folder))["account"]
    key: str = json_of(run_gpunode("tracker", "create-key", account, *options, home=network.folder))["api_key"]
    return key


@pytest.fixture(scope="module")
def newcomer(network: Network, tracker: Daemon) -> Iterator[Daemon]:
    """Start a node while the bootstrap peer is silent; ``_speaks`` ends that."""
    options = ["--threads", "1", "--model", MODEL, "--heartbeat-interval", "1", "--region", "asia"]
    _p2pd_of(tracker).send_signal(signal.SIGSTOP)
    node = Daemon(["start", "--bootstrap", tracker.run["url"], *options], network.folder / "newcomer")
    try:
        node.wait_ready()
        yield node
    finally:
        node.stop()


def _client(network: Network, url: str, api_key: str, *arguments: str, state: str) -> Any:
    """Run a client's command in a process of its own; return its JSON."""
    home = network.folder / state
    home.mkdir(exist_ok=True)
    variables = {"GPUNODE_TRACKER": url, "GPUNODE_API_KEY": api_key, "GPUNODE_STATE_DIR": str(home)}
    return json_of(run_gpunode(*arguments, home=home, **variables))


def _p2pd_of(daemon: Daemon) -> psutil.Process:
    return next(process for process in daemon.family() if process.name() == "p2pd")


def _speaks(tracker: Daemon, node: Daemon) -> None:
    """Let the bootstrap peer answer, and wait until the node is in the mesh."""
    _p2pd_of(tracker).send_signal(signal.SIGCONT)
    wait_until(lambda: status_of(node)["mesh"]["state"] == "joined", "the node joins the mesh")
    wait_until(lambda: not status_of(node)["problems"], "the node has no problem any more")


def test_newcomers_while_the_bootstrap_peer_is_silent(
    network: Network, tracker: Daemon, newcomer: Daemon, api_key: str
) -> None:
    """Node and client come up by the tracker's index alone; once the peer is back, they meet in the DHT."""
    url, peer_id = tracker.run["url"], newcomer.run["peer_id"]
    mesh = status_of(newcomer)["mesh"]
    assert (mesh["state"], mesh["peers_known"]) == ("degraded", 0)
    assert any("No peer of the mesh answers" in problem for problem in status_of(newcomer)["problems"])
    answer = _client(network, url, api_key, *ASK, state="newcomer-client")
    assert "Paris" in answer["answer"]
    assert (answer["route"]["node_id"], answer["route"]["source"]) == (peer_id, "index")
    _speaks(tracker, newcomer)
    wait_until(
        lambda: _client(network, url, api_key, *ASK, state="newcomer-client")["route"]["source"] == "dht",
        "the client finds the node in the DHT",
        90,
    )


def test_acquaintances_while_everything_of_the_tracker_is_down(
    network: Network, tracker: Daemon, newcomer: Daemon, api_key: str
) -> None:
    """A node that knows its network starts without it, and says so; when the tracker is back, the node is found."""
    url, peer_id = tracker.run["url"], newcomer.run["peer_id"]
    _speaks(tracker, newcomer)
    assert newcomer.terminate() == 0
    tracker.kill_all()
    newcomer.start()
    assert newcomer.wait_ready()["peer_id"] == peer_id
    problems = status_of(newcomer)["problems"]
    assert any("No peer of the mesh answers" in problem for problem in problems)
    assert any("does not answer" in problem and url in problem for problem in problems)
    tracker.start()
    tracker.wait_ready()
    wait_until(lambda: not status_of(newcomer)["problems"], "the node has no problem any more", 60)
    assert status_of(newcomer)["mesh"]["state"] == "joined"
    answer = _client(network, url, api_key, *ASK, state="acquaintance-client")
    assert answer["route"]["node_id"] == peer_id

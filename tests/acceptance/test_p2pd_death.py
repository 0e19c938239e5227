"""The death of a running node's p2pd: the mesh starts another one, and no short answer is taken for a whole one."""

from collections.abc import Iterator

import psutil
import pytest
from gpunode import InferenceClient

from tests.acceptance.network import Network, status_of
from tests.acceptance.processes import Daemon, wait_until

pytestmark = pytest.mark.acceptance

STORY = [{"role": "user", "content": "Tell me a long story about a fox."}]
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def node(network: Network, client: InferenceClient) -> Iterator[Daemon]:
    """Start a node alone in its region for this file's tests."""
    alone = network.add_node("africa", name="mortal")
    alone.wait_ready()
    _wait_found(client, alone)
    yield alone
    alone.stop()


def _wait_found(client: InferenceClient, node: Daemon) -> None:
    """Wait until the client finds the node in the DHT and reaches it."""
    wait_until(
        lambda: [
            info
            for info in client.nodes(region="africa")
            if info.node == node.run["peer_id"] and info.source == "dht" and info.rtt_ms is not None
        ],
        "the node answers probes",
        60,
    )


def _kill_p2pd(node: Daemon) -> None:
    (p2pd,) = [child for child in node.family() if child.name() == "p2pd"]
    p2pd.kill()
    psutil.wait_procs([p2pd], timeout=10)


def _restarts(node: Daemon) -> int:
    restarts: int = status_of(node)["mesh"]["restarts"]
    return restarts


@pytest.mark.full
def test_between_two_jobs(node: Daemon, client: InferenceClient) -> None:
    """The daemon goes on with a new p2pd, is found in the DHT again and answers."""
    before, pid = _restarts(node), status_of(node)["pid"]
    _kill_p2pd(node)
    wait_until(lambda: _restarts(node) == before + 1, "p2pd was started again")
    _wait_found(client, node)
    answer = client.chat(messages=HELLO, region="africa", max_tokens=4)
    assert (answer.route.node, answer.route.source) == (node.run["peer_id"], "dht")
    assert status_of(node)["pid"] == pid


def test_in_the_middle_of_an_answer(node: Daemon, client: InferenceClient) -> None:
    """The same node finishes the answer when it is back; nothing is lost or repeated."""
    before = _restarts(node)
    with client.chat(messages=STORY, region="africa", max_tokens=200, temperature=0, stream=True) as chunks:
        received = [next(chunks) for _ in range(5)]
        _kill_p2pd(node)
        received.extend(chunks)
        answer = chunks.result
    assert answer.ids == tuple(number for piece in received for number in piece.ids)
    assert answer.response == "".join(piece.text for piece in received)
    assert answer.finish_reason == "stop" or len(answer.ids) == 200
    assert {part.node for part in answer.route.segments} == {node.run["peer_id"]}
    assert len(answer.route.segments) > 1
    wait_until(lambda: _restarts(node) == before + 1, "p2pd was started again")
    _wait_found(client, node)


@pytest.mark.full
def test_right_before_the_end(node: Daemon, network: Network) -> None:
    """A node that leaves before it has joined again takes its adverts back all the same."""
    peer_id, before = node.run["peer_id"], _restarts(node)
    _kill_p2pd(node)
    wait_until(lambda: _restarts(node) == before + 1, "p2pd was started again")
    assert node.terminate() == 0
    with InferenceClient(network.url, api_key=network.api_key, state_dir=network.folder / "mourner") as newcomer:
        wait_until(lambda: peer_id not in {info.node for info in newcomer.nodes(region="africa")}, "nobody finds it")

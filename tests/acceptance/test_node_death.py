"""Nodes that die or fall silent under a job."""

import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from gpunode import ChatResult, Chunk, InferenceClient
from gpunode.streaming import ChatStream
from gpunode.types import Message

from tests.acceptance.network import Network, is_idle, settlements, wait_settled
from tests.acceptance.processes import Daemon, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("_repaired")]

STORY = [{"role": "user", "content": "Tell me a long story about a fox."}]


@pytest.fixture
def _repaired(network: Network, client: InferenceClient) -> Iterator[None]:
    """Leave three nodes that the shared client reaches, also those to which it had a connection that died silently."""
    yield
    network.repair()
    wait_until(
        lambda: sum(info.rtt_ms is not None for info in client.nodes()) == len(network.nodes), "all nodes answer", 60
    )


def _long_question(topic: str) -> list[Message]:
    """Return what takes a node seconds to read, unless it has just read the same."""
    return [{"role": "user", "content": f"Summarise. The {topic} went over the hill and saw a river. " * 60}]


def _hit_before_the_first_token(
    network: Network, client: InferenceClient, hit: Callable[[Daemon], None], topic: str
) -> tuple[Daemon, ChatResult]:
    """Ask, do something to the chosen node while it reads the prompt, return it and the answer."""
    with client.chat(messages=_long_question(topic), max_tokens=8, temperature=0, stream=True) as chunks:
        with ThreadPoolExecutor(1) as thread:
            rest: Future[list[Chunk]] = thread.submit(lambda: list(chunks))
            wait_until(lambda: chunks.route, "a node was chosen")
            node = _node_of(network, chunks)
            hit(node)
            assert not rest.done()
        assert rest.result()
        return node, chunks.result


def _node_of(network: Network, chunks: ChatStream) -> Daemon:
    assert chunks.route is not None
    return network.node_of(chunks.route.node)


def test_a_node_killed_before_the_first_token(network: Network, client: InferenceClient) -> None:
    """Another node answers; the route names the one that failed, and why."""
    peer_ids = {name: node.run["peer_id"] for name, node in network.nodes.items()}
    dead, result = _hit_before_the_first_token(network, client, Daemon.kill, "fox")
    name = next(name for name, node in network.nodes.items() if node is dead)
    assert [attempt.node for attempt in result.route.failed] == [peer_ids[name]]
    # p2pd says goodbye, or its address refuses connections, whichever comes first
    assert re.search("ended before the answer was complete|has ended|first to begin", result.route.failed[0].reason)
    assert result.route.node != peer_ids[name]
    assert result.receipt.verified


@pytest.mark.full
def test_a_silent_node_before_the_first_token(network: Network, client: InferenceClient) -> None:
    """A node that says nothing is given up, and another one answers."""
    stopped, result = _hit_before_the_first_token(
        network, client, lambda node: node.process.send_signal(signal.SIGSTOP), "bear"
    )
    assert [attempt.node for attempt in result.route.failed] == [stopped.run["peer_id"]]
    # without a second node at hand its silence ends it
    assert re.search("first to begin|silent for 5 s", result.route.failed[0].reason)
    assert result.route.node != stopped.run["peer_id"]
    network.repair()
    wait_until(lambda: is_idle(stopped), "the node has given up the job that nobody waits for")


def test_a_node_killed_in_mid_answer(network: Network, client: InferenceClient) -> None:
    """Another one finishes it: what was shown stays, no token is lost or repeated, and none is paid twice."""
    with client.chat(messages=STORY, max_tokens=120, temperature=0, stream=True) as chunks:
        received = [next(chunks) for _ in range(20)]
        dead = _node_of(network, chunks)
        peer_id = dead.run["peer_id"]
        dead.kill()
        received.extend(chunks)
        answer = chunks.result
    assert answer.response == "".join(piece.text for piece in received)
    assert answer.ids == tuple(number for piece in received for number in piece.ids)
    assert answer.usage.completion_tokens == len(answer.ids) == 120
    first, second = answer.route.segments
    assert (first.node, second.ended) == (peer_id, "done")
    assert first.output_units + second.output_units == 120
    wait_settled(client, answer.job)
    wait_until(lambda: len(_paid(client, answer.job)) == 2, "both nodes' parts are in the ledger")
    paid = _paid(client, answer.job)
    assert paid[second.node] == second.output_units
    assert first.output_units - 64 <= paid[peer_id] <= first.output_units
    network.repair()
    wait_until(lambda: is_idle(dead), "the node has handed in what it had kept")
    assert _paid(client, answer.job) == paid


def _paid(client: InferenceClient, job: str) -> dict[str, int]:
    """Return the output units that each node was paid for."""
    paid: dict[str, int] = {}
    for entry in settlements(client, job=job):
        if entry.settled is not None:
            paid[entry.settled.node] = max(paid.get(entry.settled.node, 0), entry.settled.count)
    return paid

"""The failover bench's network: a tracker and nodes of the real model on loopback, of which any can be killed."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gpunode import InferenceClient
from gpunode.demo.children import Child, Children, DemoFailed
from gpunode.demo.network import DemoNetwork, DemoNode, read_when_ready, start_network
from gpunode_node.control_client import ask_daemon
from gpunode_node.node_folder import NodeFolder
from gpunode_protocol.ledger_entries import LedgerEntry
from gpunode_protocol.tasks import Task

from gpunode_benchmarks.errors import BenchmarkFailed

MODEL: Final = "smollm2-135m"
NODES: Final = 4

_DEADLINE_S: Final = 90.0
_POLL_INTERVAL_S: Final = 0.05
_PAGE: Final = 200  # entries of the ledger


class FailoverNetwork:
    """A running network. Start it with ``failover_network``.

    Args:
        network: tracker, nodes and client.
    """

    def __init__(self, network: DemoNetwork) -> None:
        self._network = network
        self._killed: dict[str, Child] = {}

    @property
    def client(self) -> InferenceClient:
        """The client that asks all questions."""
        return self._network.client

    def kill(self, peer_id: str) -> None:
        """Kill a node's processes, all at once."""
        node = self._node(peer_id)
        child = self._network.children.named(node.name)
        NodeFolder(node.data_dir).run.unlink()  # it says that the node is ready
        self._network.children.kill(child)
        self._killed[peer_id] = child

    @property
    def alive(self) -> int:
        """How many nodes run."""
        return len(self._network.nodes) - len(self._killed)

    def start_killed(self) -> None:
        """Start all nodes again that were killed, in their folders, and wait until the client reaches every node.

        Raises:
            BenchmarkFailed: it does not within 90 s. DemoFailed: a node ended that nobody killed.
        """
        for child in self._killed.values():
            self._network.children.start_again(child)
        self._killed.clear()
        for node in self._network.nodes:
            read_when_ready(node.data_dir, self._network.children)
        self.wait(lambda: _reachable(self.client) >= self.alive, "The nodes could not all be reached")

    def all_handed_in(self) -> bool:
        """Whether no running node has a receipt or voucher left that the tracker does not have."""
        running = (node for node in self._network.nodes if node.peer_id not in self._killed)
        return all(_owes_nothing(node) for node in running)

    def wait(self, condition: Callable[[], bool], failure: str) -> None:
        """Wait until a condition is true.

        Raises:
            BenchmarkFailed: it is not within 90 s. DemoFailed: a node ended that nobody killed.
        """
        deadline = time.monotonic() + _DEADLINE_S
        while not condition():
            self._network.children.check()
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"{failure} within {_DEADLINE_S:.0f} s. Close other programs and run it again.")
            time.sleep(_POLL_INTERVAL_S)

    def ledger_entries(self) -> Iterator[LedgerEntry]:
        """Yield all entries of the client's account, newest first."""
        cursor: str | None = None
        while True:
            reply = self.client.ledger_entries(limit=_PAGE, cursor=cursor)
            yield from (own.entry for own in reply.entries)
            cursor = reply.next_cursor
            if cursor is None:
                return

    def _node(self, peer_id: str) -> DemoNode:
        return next(node for node in self._network.nodes if node.peer_id == peer_id)


@contextlib.contextmanager
def failover_network(nodes: int = NODES) -> Iterator[FailoverNetwork]:
    """Start a tracker and so many nodes, >= 2; end them with the block.

    Raises:
        BenchmarkFailed: a process ended that nobody killed, or the network did not come up in time.
    """
    with tempfile.TemporaryDirectory(prefix="gpnb-") as name:  # short: below it are Unix sockets
        folder = Path(name)
        try:
            with Children(folder) as children:
                network = start_network(folder, children, nodes=nodes, task=Task.LLM, model=MODEL, say=lambda _: None)
                with network.client:
                    yield FailoverNetwork(network)
        except DemoFailed as error:
            raise BenchmarkFailed(str(error)) from error


def _reachable(client: InferenceClient) -> int:
    return sum(node.rtt_ms is not None for node in client.nodes(task=Task.LLM, model=MODEL))


def _owes_nothing(node: DemoNode) -> bool:
    status = ask_daemon(NodeFolder(node.data_dir).control, "status")
    return not status["jobs_unfinished"] and not any(
        status["outbox"][state] for state in ("held", "ready", "unwritten")
    )

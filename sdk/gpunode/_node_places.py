"""How many streams for jobs this client has at each node: no more than a node takes of one peer, the others wait."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from gpunode_protocol.identity import PeerId
from gpunode_protocol.node_stream import MAX_STREAMS_PER_PEER

SHUT_S: Final = 1.0
"""A node that took no further stream, and did not say for how long, is asked again after this."""
LONGEST_SHUT_S: Final = 60.0


class Place:
    """One stream's place at a node. It ends with the first call of ``release`` or ``refused``.

    Args:
        node: where.
        leave, refuse: do what these two say.
    """

    def __init__(
        self, node: PeerId, leave: Callable[[PeerId], None], refuse: Callable[[PeerId, float | None], None]
    ) -> None:
        self.node = node
        self._leave = leave
        self._refuse = refuse
        self._is_over = False

    def release(self) -> None:
        """The stream is closed, and the node has seen that."""
        if not self._is_over:
            self._is_over = True
            self._leave(self.node)

    def refused(self, retry_after_s: float | None) -> None:
        """The node took no further stream; it is left alone until one of those there has ended, or for these seconds.

        It may see the end of a stream later than the client, and others may use the client's key.
        """
        if not self._is_over:
            self._is_over = True
            self._refuse(self.node, retry_after_s)


@dataclass(eq=False, frozen=True)
class _Waiter:
    nodes: tuple[PeerId, ...]
    place: "asyncio.Future[Place]"


class NodePlaces:
    """The places at all nodes, shared by the jobs of a client.

    Args:
        limit: streams that a node takes at once.
    """

    def __init__(self, limit: int = MAX_STREAMS_PER_PEER) -> None:
        self._limit = limit
        self._taken = Counter[PeerId]()
        self._shut: dict[PeerId, asyncio.TimerHandle] = {}
        self._waiting: deque[_Waiter] = deque()

    def has_room(self, node: PeerId) -> bool:
        """Return whether a further stream may be opened now. Nobody waits for a node that has room."""
        return self._taken[node] < self._limit and node not in self._shut

    def has_jobs(self, node: PeerId) -> bool:
        """Return whether streams are open there, of which each will end some time."""
        return self._taken[node] > 0

    def take(self, node: PeerId) -> Place:
        """Return a place at a node that has room."""
        self._taken[node] += 1
        return Place(node, self._left, self._refused)

    async def wait(self, nodes: Iterable[PeerId], *, is_urgent: bool = False) -> Place:
        """Return the first place that becomes free at one of these nodes, best first; whoever came first has it first.

        is_urgent: before all those who came sooner.
        """
        waiter = _Waiter(tuple(nodes), asyncio.get_running_loop().create_future())
        self._waiting.insert(0 if is_urgent else len(self._waiting), waiter)
        self._serve(waiter.nodes)
        try:
            return await waiter.place
        except asyncio.CancelledError:
            if waiter.place.done() and not waiter.place.cancelled():  # it came in the same moment
                waiter.place.result().release()
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _left(self, node: PeerId) -> None:
        self._taken -= Counter([node])
        self._open(node)

    def _refused(self, node: PeerId, retry_after_s: float | None) -> None:
        self._taken -= Counter([node])
        pause_s = min(LONGEST_SHUT_S, SHUT_S if retry_after_s is None else max(0.0, retry_after_s))
        if node in self._shut:
            self._shut[node].cancel()
        self._shut[node] = asyncio.get_running_loop().call_later(pause_s, self._open, node)

    def _open(self, node: PeerId) -> None:
        shut = self._shut.pop(node, None)
        if shut is not None:
            shut.cancel()
        self._serve({node})

    def _serve(self, nodes: Collection[PeerId]) -> None:
        """Give places away, in the order in which they are waited for."""
        for waiter in [waiter for waiter in self._waiting if not {*nodes}.isdisjoint(waiter.nodes)]:
            node = next((node for node in waiter.nodes if self.has_room(node)), None)
            if node is not None and not waiter.place.done():
                waiter.place.set_result(self.take(node))
                self._waiting.remove(waiter)

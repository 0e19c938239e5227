"""How many streams for jobs this client has at each node: no more than a node takes of one peer, the others wait."""

import asyncio
import itertools
import math
from bisect import insort
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from gpunode_protocol.identity import PeerId
from gpunode_protocol.node_stream import MAX_STREAMS_PER_PEER

SHUT_S: Final = 1.0
"""A node that took no further stream, and did not say for how long, is asked again after this."""
LEAST_SHUT_S: Final = 0.25
"""However soon it wants to be asked again."""
LONGEST_SHUT_S: Final = 60.0

TRIAL_S: Final = 2.0
"""As long as somebody waits, a node that was avoided and has room is looked at this often, and gets one job then."""


class Place:
    """One stream's place at a node. It ends with the first call of ``release`` or ``refused``.

    Args:
        node: where.
        leave, refuse: do what these two say.

    ``is_accepted``: the node has accepted what the stream is for; whoever reads the stream notes it.
    """

    def __init__(
        self, node: PeerId, leave: Callable[["Place"], None], refuse: Callable[["Place", float | None], None]
    ) -> None:
        self.node = node
        self.is_accepted = False
        self._leave = leave
        self._refuse = refuse
        self._is_over = False

    def release(self) -> None:
        """The stream is closed, and the node has seen that."""
        if not self._is_over:
            self._is_over = True
            self._leave(self)

    def refused(self, retry_after_s: float | None) -> None:
        """The node took no further stream; for these seconds it gets no more than it has, one for each that ends.

        It may see the end of a stream later than the client, and others may use the client's key.
        """
        if not self._is_over:
            self._is_over = True
            self._refuse(self, retry_after_s)


@dataclass(eq=False, frozen=True)
class _Waiter:
    nodes: tuple[PeerId, ...]
    rank: tuple[bool, int]
    avoided: Callable[[], Collection[str]]
    place: "asyncio.Future[Place]"


@dataclass(frozen=True)
class _Shut:
    """most: streams that a node took when it refused one; opening: takes that for no longer true."""

    most: int
    opening: asyncio.TimerHandle


def _nobody() -> Collection[str]:
    return ()


class NodePlaces:
    """The places at all nodes, shared by the jobs of a client.

    Args:
        limit: streams that a node takes at once.
    """

    def __init__(self, limit: int = MAX_STREAMS_PER_PEER) -> None:
        self._limit = limit
        self._taken: dict[PeerId, set[Place]] = {}
        self._shut: dict[PeerId, _Shut] = {}
        self._waiting: list[_Waiter] = []
        self._numbers = itertools.count()
        self._trials: dict[PeerId, asyncio.TimerHandle] = {}

    def has_room(self, node: PeerId) -> bool:
        """Return whether a further stream may be opened now. Nobody waits for a node that has room."""
        shut = self._shut.get(node)
        return self._count(node) < (self._limit if shut is None else shut.most)

    def has_jobs(self, node: PeerId) -> bool:
        """Return whether streams are open there, of which each will end some time."""
        return node in self._taken

    def has_accepted(self, node: PeerId) -> bool:
        """Return whether the node has accepted some of them."""
        return any(place.is_accepted for place in self._taken.get(node, ()))

    def take(self, node: PeerId) -> Place:
        """Return a place at a node that has room."""
        place = Place(node, self._left, self._refused)
        self._taken.setdefault(node, set()).add(place)
        return place

    def number(self) -> int:
        """Return a number for ``wait``, higher than all before."""
        return next(self._numbers)

    async def wait(
        self,
        nodes: Iterable[PeerId],
        *,
        number: int | None = None,
        is_urgent: bool = False,
        avoided: Callable[[], Collection[str]] = _nobody,
    ) -> Place:
        """Return the first place that becomes free at one of these nodes; whoever has the lowest number has it first.

        Args:
            nodes: best first.
            number: from ``number``, None = a new one. Who waits again keeps it, and so its place in the line.
            is_urgent: before all that are not.
            avoided: nodes at which no place is wanted, as long as there are others among these.
        """
        rank = not is_urgent, self.number() if number is None else number
        waiter = _Waiter(tuple(nodes), rank, avoided, asyncio.get_running_loop().create_future())
        insort(self._waiting, waiter, key=lambda waiter: waiter.rank)
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

    def _count(self, node: PeerId) -> int:
        return len(self._taken.get(node, ()))

    def _give_back(self, place: Place) -> None:
        taken = self._taken[place.node]
        taken.remove(place)
        if not taken:
            del self._taken[place.node]

    def _left(self, place: Place) -> None:
        self._give_back(place)
        self._serve({place.node})

    def _refused(self, place: Place, retry_after_s: float | None) -> None:
        self._give_back(place)
        node = place.node
        pause_s = min(LONGEST_SHUT_S, SHUT_S if retry_after_s is None else max(LEAST_SHUT_S, retry_after_s))
        if node in self._shut:
            self._shut[node].opening.cancel()
        opening = asyncio.get_running_loop().call_later(pause_s, self._open, node)
        self._shut[node] = _Shut(self._count(node), opening)

    def _open(self, node: PeerId) -> None:
        del self._shut[node]
        self._serve({node})

    def _try(self, node: PeerId) -> None:
        del self._trials[node]
        self._serve({node}, most=1)

    def _serve(self, nodes: Collection[PeerId], most: float = math.inf) -> None:
        """Give places away, in the order in which they are waited for. most: so many."""
        for waiter in [waiter for waiter in self._waiting if not {*nodes}.isdisjoint(waiter.nodes)]:
            avoided = waiter.avoided()
            wanted = [node for node in waiter.nodes if node not in avoided] or waiter.nodes
            node = next(filter(self.has_room, wanted), None)
            if node is not None and most > 0 and not waiter.place.done():
                waiter.place.set_result(self.take(node))
                self._waiting.remove(waiter)
                most -= 1
                continue
            passed_over = next(filter(self.has_room, waiter.nodes), None)
            if passed_over is not None and passed_over not in self._trials:
                loop = asyncio.get_running_loop()
                self._trials[passed_over] = loop.call_later(TRIAL_S, self._try, passed_over)

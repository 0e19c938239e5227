"""Kademlia's iterative look-up, with a deadline and without early end.

hivemind's own search stops at the first reply that claims to be good enough, which one hostile node can send; this
one always asks the ``width`` nearest nodes that answer and leaves the judging of what they say to the caller.
Ids are integers compared by XOR (https://pdos.csail.mit.edu/~petar/papers/maymounkov-kademlia-lncs.pdf, section 2.3).
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P")

WIDTH = 8
"""Nearest answering nodes that end a look-up: 5 replicas and a margin for 3 that do not know the key."""

PARALLEL = 4
"""Requests under way at once."""

MAX_ASKED = 64
"""Nodes asked by one look-up at most, whatever neighbours they invent."""

MAX_NEIGHBOURS = 20
"""Neighbours taken from one reply, hivemind's bucket size."""


@dataclass(frozen=True, slots=True)
class Lookup(Generic[P]):
    """nearest: nodes that answered, nearest first. asked: nodes asked. complete: False when the deadline ended it."""

    nearest: tuple[tuple[int, P], ...]
    asked: int
    complete: bool


class _Search(Generic[P]):
    def __init__(self, target: int, width: int) -> None:
        self._target = target
        self._width = width
        self._known: dict[int, P] = {}
        self._asked: set[int] = set()
        self._failed: set[int] = set()
        self._answered: set[int] = set()

    def add(self, neighbours: Iterable[tuple[int, P]]) -> None:
        for node_id, peer in neighbours:
            self._known.setdefault(node_id, peer)

    def next(self) -> tuple[int, P] | None:
        """Return the nearest node that matters and has not been asked."""
        if len(self._asked) >= MAX_ASKED:
            return None
        for node_id in self._nearest(node for node in self._known if node not in self._failed):
            if node_id not in self._asked:
                self._asked.add(node_id)
                return node_id, self._known[node_id]
        return None

    def settle(self, node_id: int, neighbours: Iterable[tuple[int, P]] | None) -> None:
        if neighbours is None:
            self._failed.add(node_id)
            return
        self._answered.add(node_id)
        self.add(neighbours)

    def result(self, *, complete: bool) -> Lookup[P]:
        nearest = tuple((node_id, self._known[node_id]) for node_id in self._nearest(self._answered))
        return Lookup(nearest, len(self._asked), complete)

    def _nearest(self, nodes: Iterable[int]) -> list[int]:
        return heapq.nsmallest(self._width, nodes, key=lambda node_id: node_id ^ self._target)


async def look_up(
    target: int,
    start: Iterable[tuple[int, P]],
    ask: Callable[[P], Awaitable[list[tuple[int, P]] | None]],
    *,
    deadline_s: float,
    width: int = WIDTH,
    parallel: int = PARALLEL,
) -> Lookup[P]:
    """Find the nodes nearest to ``target``.

    Args:
        target: id that is looked for.
        start: nodes known at the beginning.
        ask: asks one node, returns its neighbours, or None when it did not answer; must not raise.
        deadline_s: seconds, > 0; what was found until then is returned.
        width: nodes that must have answered.
        parallel: requests at once.
    """
    search: _Search[P] = _Search(target, width)
    search.add(start)
    pending: dict[asyncio.Task[list[tuple[int, P]] | None], int] = {}
    ends_at = asyncio.get_running_loop().time() + deadline_s
    try:
        while True:
            while len(pending) < parallel and (chosen := search.next()) is not None:
                pending[asyncio.ensure_future(ask(chosen[1]))] = chosen[0]
            if not pending:
                return search.result(complete=True)
            remaining_s = ends_at - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait(pending, timeout=max(0.0, remaining_s), return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return search.result(complete=False)
            for task in done:
                neighbours = task.result()
                search.settle(pending.pop(task), neighbours[:MAX_NEIGHBOURS] if neighbours is not None else None)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

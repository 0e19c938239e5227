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
"""Nearest answering nodes that end a look-up; new ones among them may not know the key yet."""

PARALLEL = 4
"""Requests under way at once."""

STALLED_S = 0.4
"""Seconds after which a node that has not answered no longer keeps another one from being asked in its place."""

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

    def doubt(self, node_id: int) -> None:
        """Do without a node that has not answered yet; it counts again if it does."""
        self._failed.add(node_id)

    def settle(self, node_id: int, neighbours: Iterable[tuple[int, P]] | None) -> None:
        if neighbours is None:
            self._failed.add(node_id)
            return
        self._failed.discard(node_id)
        self._answered.add(node_id)
        self.add(neighbours)

    @property
    def has_enough(self) -> bool:
        """Whether as many nodes have answered as are wanted."""
        return len(self._answered) >= self._width

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
        parallel: requests at once, those apart that have not been answered for 0.4 s.
    """
    search: _Search[P] = _Search(target, width)
    search.add(start)
    pending = _Pending[P](asyncio.get_running_loop().time)
    ends_at = pending.now() + deadline_s
    try:
        while True:
            while pending.hopeful < parallel and (chosen := search.next()) is not None:
                pending.add(asyncio.ensure_future(ask(chosen[1])), chosen[0])
            if not pending.hopeful and (search.has_enough or not pending.tasks):
                return search.result(complete=True)
            if pending.now() >= ends_at:
                return search.result(complete=False)
            for node_id, neighbours in await pending.wait(ends_at):
                search.settle(node_id, neighbours[:MAX_NEIGHBOURS] if neighbours is not None else None)
            for node_id in pending.newly_stalled():
                search.doubt(node_id)
    finally:
        await pending.cancel()


class _Pending(Generic[P]):
    """Requests under way, each until its answer, and from when on little is hoped of it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.tasks: dict[asyncio.Task[list[tuple[int, P]] | None], int] = {}
        self._stalls_at: dict[int, float] = {}  # of those that have not stalled

    @property
    def hopeful(self) -> int:
        return len(self._stalls_at)

    def add(self, task: "asyncio.Task[list[tuple[int, P]] | None]", node_id: int) -> None:
        self.tasks[task] = node_id
        self._stalls_at[node_id] = self.now() + STALLED_S

    async def wait(self, ends_at: float) -> list[tuple[int, list[tuple[int, P]] | None]]:
        """Return what has been answered by the time something was, or something stalled."""
        until = min(ends_at, *self._stalls_at.values()) if self._stalls_at else ends_at
        done, _ = await asyncio.wait(
            self.tasks, timeout=max(0.0, until - self.now()), return_when=asyncio.FIRST_COMPLETED
        )
        answers = [(self.tasks.pop(task), task.result()) for task in done]
        for node_id, _ in answers:
            self._stalls_at.pop(node_id, None)
        return answers

    def newly_stalled(self) -> list[int]:
        stalled = [node_id for node_id, at in self._stalls_at.items() if at <= self.now()]
        for node_id in stalled:
            del self._stalls_at[node_id]
        return stalled

    async def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

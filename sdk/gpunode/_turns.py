"""Lets the jobs of a client go to a node one after the other, so that the first is there before the last is signed."""

import asyncio
from collections.abc import Callable
from typing import Final

MAX_TURN_S: Final = 0.02
"""A few times what a node nearby takes to accept a job; nobody waits longer for those who came at the same moment: the
node may be far away, or gone."""


class Turn:
    """One job's turn at a node; over at the first call of ``end``, or 20 ms after it was asked for.

    Args:
        on_end: told when it is over.
    """

    def __init__(self, on_end: Callable[["Turn"], None]) -> None:
        loop = asyncio.get_running_loop()
        self.is_over = loop.create_future()
        self._on_end = on_end
        self._timer = loop.call_later(MAX_TURN_S, self.end)

    def end(self) -> None:
        """The node has the job, or will not get it: the next one may go."""
        if not self.is_over.done():
            self._timer.cancel()
            self.is_over.set_result(None)
            self._on_end(self)


class Turns:
    """Who is bringing a job to which node.

    Eight calls at once would otherwise take every step together, here and at the node, and its engine waits for all.
    """

    def __init__(self) -> None:
        self._last: dict[str, Turn] = {}

    async def next(self, node: str) -> Turn:
        """Return the caller's turn as soon as the one before is over; the caller ends it when the node has accepted."""
        before = self._last.get(node)
        turn = self._last[node] = Turn(lambda over: self._forget(node, over))
        if before is not None:
            try:
                await asyncio.wait({before.is_over})  # not the future itself: a cancelled waiter would cancel it
            except BaseException:
                turn.end()
                raise
        return turn

    def _forget(self, node: str, turn: Turn) -> None:
        if self._last.get(node) is turn:
            del self._last[node]

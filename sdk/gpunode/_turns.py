"""Lets the jobs of a client go to a node one after the other, so that the first is there before the last is signed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Final

MAX_TURN_S: Final = 0.02
"""Ten times what a stream and a request take at a node nearby; nobody waits longer for the job before: its node may be
far away, or gone."""


class Turns:
    """Who is sending a request to which node.

    Eight calls at once would otherwise take every step together, and the engine waits until all eight are opened.
    """

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Future[None]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, node: str) -> AsyncGenerator[None, None]:
        """Wait until the job before has sent its request to the node, 20 ms at most; then it is this one's turn."""
        before = self._last.get(node)
        mine = self._last[node] = asyncio.get_running_loop().create_future()
        try:
            if before is not None:
                await asyncio.wait({before}, timeout=MAX_TURN_S)
            yield
        finally:
            mine.set_result(None)
            if self._last.get(node) is mine:
                del self._last[node]

"""Looks, while a job's node is silent, whether its process has ended, and ends the stream if so."""

import asyncio
from collections.abc import Awaitable, Callable

from gpunode._silence import Silence

HasEnded = Callable[[], Awaitable[bool]]
"""Returns whether the node's process has certainly ended; False also where nothing is known."""


class Knocker:
    """Knocks at one node, once at a time.

    Args:
        silence: when to knock.
        has_ended: the knock.
        end_stream: called when the process has ended: what came before is still read, then comes the stream's end.
    """

    def __init__(self, silence: Silence, has_ended: HasEnded, end_stream: Callable[[], None]) -> None:
        self.found_dead = False
        self._silence = silence
        self._has_ended = has_ended
        self._end_stream = end_stream
        self._knock: asyncio.Task[None] | None = None

    def next_at(self) -> float | None:
        """Return when ``on_timer`` is due, monotonic seconds; None if it is not."""
        return self._silence.next_knock_at()

    def on_timer(self, now: float) -> None:
        """Knock if it is time to; nobody waits for the answer, and one that is not there by the next time is late."""
        due_at = self.next_at()
        if due_at is not None and now >= due_at:
            self.stop()
            self._silence.knocked(now)
            self._knock = asyncio.create_task(self._look())

    def heard(self, now: float) -> None:
        """The node speaks: whatever a knock says is no longer asked for."""
        self._silence.heard(now)
        self.stop()

    def stop(self) -> None:
        """Break a knock off."""
        if self._knock is not None:
            self._knock.cancel()
            self._knock = None

    async def _look(self) -> None:
        if await self._has_ended():
            self.found_dead = True
            self._end_stream()

"""How the tracker learns that a pull worker pauses, and that it serves again."""

from collections.abc import Awaitable, Callable

from gpunode_node.bell import Bell


class WorkerPresence:
    """Implements ``Presence``.

    Args:
        beat: tells the tracker how the worker stands.
        changed: rung when jobs may, or may not, be taken.
    """

    def __init__(self, beat: Callable[[], Awaitable[object]], changed: Bell) -> None:
        self._beat = beat
        self._changed = changed

    def hush(self) -> None:
        """See ``Presence``."""
        self._changed.ring()

    async def leave(self) -> None:
        """See ``Presence``."""
        await self._beat()

    async def come_back(self) -> None:
        """See ``Presence``."""
        await self._beat()
        self._changed.ring()

"""How the mesh and the tracker's index learn that a node pauses, and that it serves again."""

import asyncio
from collections.abc import Awaitable, Callable

from gpunode_node.announcer import ANNOUNCE_DEADLINE_S, Announcer


class MeshPresence:
    """Implements ``Presence``.

    Args:
        announcer: of the node's adverts.
        beat: tells the tracker how the node stands.
    """

    def __init__(self, announcer: Announcer, beat: Callable[[], Awaitable[object]]) -> None:
        self._announcer = announcer
        self._beat = beat

    def hush(self) -> None:
        """See ``Presence``."""
        self._announcer.silent = True

    async def leave(self) -> None:
        """See ``Presence``. The node lives on, so its tombstones may take the time that adverts take."""
        await self._announcer.take_back()
        await asyncio.gather(self._beat(), self._announcer.withdraw(ANNOUNCE_DEADLINE_S))

    async def come_back(self) -> None:
        """See ``Presence``."""
        self._announcer.silent = False
        self._announcer.renew()
        await self._announcer.announce_when_due()
        await self._beat()

"""Joins the mesh before the first queued job needs it, where there are nodes that could do one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from gpunode_protocol.errors import GpunodeError

logger = logging.getLogger(__name__)

JOIN_AFTER_S: Final = 10.0
"""After a node came. Joining takes a second or two, which the first job would wait for; a tracker without nodes, or one
that has just started, has other things to do."""


class JoinAhead:
    """Joins once, a while after the first node has come.

    Args:
        join: joins the mesh; returns at once if that was done before.
        after_s: how long after.
    """

    def __init__(self, join: Callable[[], Awaitable[object]], *, after_s: float = JOIN_AFTER_S) -> None:
        self._join = join
        self._after_s = after_s
        self._task: asyncio.Task[None] | None = None

    def node_came(self) -> None:
        """Note that there is a node."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Join no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        await asyncio.sleep(self._after_s)
        try:
            await self._join()
        except GpunodeError as error:  # the next node, or a job, tries again
            logger.info("The mesh was not joined ahead of jobs: %s", error, extra={"event": "join_ahead_failed"})
            self._task = None

"""A daemon's process from its start to its exit code: folder, signals, and an orderly end or one at once."""

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Generic, TypeVar

import stamina.instrumentation

from gpunode_node.errors import NodeFolderLost
from gpunode_node.node_folder import NodeFolder
from gpunode_node.stop_signals import StopSignals

logger = logging.getLogger(__name__)

EXIT_DRAINED = 0
EXIT_AT_ONCE = 1

FOLDER_INTERVAL_S = 5.0
"""A look at the folder costs microseconds; a job that begins in between ends with an error."""

P = TypeVar("P")


def keep_for_good() -> None:
    """Have the garbage collector leave out what is there now: it lives as long as the process.

    A walk over all of a node's objects takes 20 ms or more, in which no token goes on its way.
    """
    gc.collect()
    gc.freeze()


class ProcessLife(Generic[P]):
    """Runs one daemon.

    Args:
        folder: of the daemon.
        start: starts all parts; each pushes its end on the stack. A signal meanwhile cancels it.
        serve: works with the parts, until ``asked`` is set or something ends it.
    """

    def __init__(
        self,
        folder: NodeFolder,
        start: Callable[[AsyncExitStack], Coroutine[Any, Any, P]],
        serve: Callable[[P, AsyncExitStack], Coroutine[Any, Any, None]],
    ) -> None:
        self._folder = folder
        self._start = start
        self._serve = serve
        self.asked = asyncio.Event()  #: the first signal came, or the folder is lost

    async def run(self) -> int:
        """Run until a signal; return the exit code: 0 after an orderly end, 1 when a second signal cut it short.

        Raises:
            GpunodeError: the daemon cannot start, or has ended for a reason of its own, with what to do.
        """
        # by default stamina prints each retry to standard output; what came of the call is logged where it was made
        stamina.instrumentation.set_on_retry_hooks([])
        main = asyncio.create_task(self._run_until_asked())
        with StopSignals(main, self.asked) as signals:
            try:
                await main
            except asyncio.CancelledError:
                if not signals.at_once:
                    raise
                logger.warning("stopped at once", extra={"event": "stopped_at_once"})
                return EXIT_AT_ONCE
        return EXIT_DRAINED

    async def _run_until_asked(self) -> None:
        self._folder.take()
        try:
            async with AsyncExitStack() as stack:
                parts = await self._start_or_stop(self._start(stack))
                if parts is not None:
                    await self._serve_watched(parts, stack)
        finally:
            self._folder.give_back()

    async def _serve_watched(self, parts: P, stack: AsyncExitStack) -> None:
        """Serve until the end that was asked for, or until the folder is lost: key, vouchers and sockets were there."""
        watching = asyncio.create_task(self._watch_folder())
        try:
            await self._serve(parts, stack)
        finally:
            await end_tasks([watching])
        if self._folder.is_lost():
            raise NodeFolderLost(_lost(self._folder))

    async def _watch_folder(self) -> None:
        while True:
            if self._folder.is_lost():
                logger.error("%s", _lost(self._folder), extra={"event": "folder_lost"})
                self.asked.set()
                return
            await asyncio.sleep(FOLDER_INTERVAL_S)

    async def _start_or_stop(self, start: Coroutine[Any, Any, P]) -> P | None:
        """Run the start; None when a signal came first."""
        starting, asked = asyncio.create_task(start), asyncio.create_task(self.asked.wait())
        try:
            await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                return starting.result()
            logger.info("stopping", extra={"event": "stopping"})
            return None
        finally:
            await end_tasks([starting, asked])


def _lost(folder: NodeFolder) -> str:
    return (
        f"The data directory {folder.path} was deleted, moved or replaced while the node ran, so it ends. "
        "Put it back before the next start: earnings belong to the key in it, and a new folder gets a new key."
    )


async def end_tasks(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are gone; what they raise is nobody's business any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""Work that nobody waits for: it is logged when it fails, and finished or cancelled when the client closes."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from gpunode_protocol.errors import GpunodeError

_log = logging.getLogger(__name__)

CLOSE_DEADLINE_S: Final = 8.0
"""Enough to wind a job down (3 s), hand its voucher over (2 s) and send it to the tracker."""


class Background:
    """Owns tasks of one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._unhurried: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], *, can_wait: bool = False) -> asyncio.Task[None]:
        """Run ``work``; failures are logged. can_wait: closing cancels it at once, the next client does it."""
        task = asyncio.get_running_loop().create_task(_logged(work))
        tasks = self._unhurried if can_wait else self._tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: work.close())  # it may have been cancelled before its first step
        return task

    async def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """Let the tasks, and those that they start, finish for some seconds; then cancel them."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + deadline_s
        while self._tasks and loop.time() < ends_at:
            await asyncio.wait(self._tasks, timeout=ends_at - loop.time())
        rest = [*self._tasks, *self._unhurried]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except GpunodeError as error:
        _log.warning("%s", error, extra={"event": "background_failed"})
    except Exception:  # noqa: BLE001 -- the boundary of a task that nobody awaits
        _log.exception("background work failed", extra={"event": "background_crashed"})

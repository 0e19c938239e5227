"""Ending tasks that may lose a cancellation."""

import asyncio
from collections.abc import Sequence
from typing import Final

_PATIENCE_S: Final = 0.1


async def end_tasks(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel tasks until all have ended: one that is inside redis-py can take a cancellation for its own time-out."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        ended, running = await asyncio.wait(running, timeout=_PATIENCE_S)
        await asyncio.gather(*ended, return_exceptions=True)

"""Ends tasks, and sees to it that whoever ended them knows what became of them."""

import asyncio
from collections.abc import Iterable
from typing import Any


async def end_all(tasks: "Iterable[asyncio.Future[Any]]") -> None:
    """Cancel tasks and wait until all have ended; at once where they have. Their errors are the caller's to look at.

    Raises:
        CancelledError: whoever waits was cancelled meanwhile, also if not for the first time; all have ended, too.
    """
    pending = {task for task in tasks if not task.done()}
    for task in pending:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while pending:
        try:
            _, pending = await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
            pending = {task for task in pending if not task.done()}
    if cancelled is not None:
        raise cancelled


def result_of(task: "asyncio.Future[Any] | None") -> Any:
    """Return the result of a task that has ended; None if it was cancelled or has failed, or if there is no task."""
    if task is None or task.cancelled() or task.exception() is not None:
        return None
    return task.result()

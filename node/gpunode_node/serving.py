"""What every daemon does once its parts run: work until something ends it, keep house, and drain under watch."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn

from gpunode_node.admission_desk import AdmissionDesk
from gpunode_node.job_registry import JobRegistry
from gpunode_node.process_life import end_tasks

HOUSEKEEPING_INTERVAL_S: Final = 60.0


async def work_until(events: Sequence[asyncio.Event], tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Wait until one of the events comes.

    Args:
        events: each is a reason for an orderly end.
        tasks: the work, which never returns. The caller ends them.

    Raises:
        Exception: what ended one of the tasks.
    """
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait({*waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        _raise_from(tasks)
    finally:
        await end_tasks(waiting)


async def drain_watched(drain: Coroutine[Any, Any, None], watching: asyncio.Task[None]) -> None:
    """Drain, unless the watch ends it. Raises what either of them does."""
    draining = asyncio.create_task(drain)
    try:
        await asyncio.wait({draining, watching}, return_when=asyncio.FIRST_COMPLETED)
        _raise_from((watching, draining))
    finally:
        await end_tasks([draining])


async def keep_house(registry: JobRegistry, desk: AdmissionDesk, unix_time: Callable[[], float]) -> NoReturn:
    """Forget from time to time what is too old, for ever."""
    while True:
        await asyncio.sleep(HOUSEKEEPING_INTERVAL_S)
        registry.expire(asyncio.get_running_loop().time())
        await desk.expire(unix_time())


def _raise_from(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        if task.done():
            task.result()

"""Blocking work that must not hold up the end of the process, which ``asyncio.to_thread`` would."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


async def run_in_daemon_thread(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, or raise what it raises.

    When the caller is cancelled, ``work`` is left to itself: nobody waits for it, and it ends with the process at the
    latest, anywhere in the middle. It must leave nothing that the next start could not go on from.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(cast("T", result))

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as caught:  # noqa: BLE001 -- raised again in the caller
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="gpunode-work", daemon=True).start()
    return await outcome

"""What a process does again and again until it ends, whatever fails in between."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gpunode_protocol.errors import GpunodeError

logger = logging.getLogger(__name__)

Action = Callable[[], Awaitable[object]]


async def attempt(action: Action, event: str, *, level: int = logging.ERROR) -> None:
    """Do something whose failure is logged and goes no further.

    Args:
        action: what is done.
        event: of the log's line.
        level: of a foreseen failure (``GpunodeError``), whose message says it all; others are errors with a traceback.
    """
    try:
        await action()
    except GpunodeError as error:
        logger.log(level, "%s", error, extra={"event": event})
    except Exception:
        logger.exception("Unexpected failure", extra={"event": event})


async def every(
    interval_s: float, action: Action, event: str, *, level: int = logging.ERROR, at_once: bool = False
) -> None:
    """Do something until cancelled; what fails is tried again at the next turn, see ``attempt``.

    Args:
        interval_s: seconds from the end of one turn to the beginning of the next, ≥ 0.
        action, event, level: as in ``attempt``.
        at_once: whether the first turn is now, and not after the first interval.
    """
    if at_once:
        await attempt(action, event, level=level)
    while True:
        await asyncio.sleep(interval_s)
        await attempt(action, event, level=level)

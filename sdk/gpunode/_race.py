"""Waits for a node's first output, and asks a second one too if it takes long: the first to begin does the job."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import Completed, Failed, JobEvent
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.messages import ProgressFrame, SegmentFrame, TokensFrame

from gpunode._ending import end_all, result_of
from gpunode._node_places import Place
from gpunode._probing import OwnJob
from gpunode._selection import Choice
from gpunode._transport import JobLink
from gpunode._turns import Turn

_DECIDES = (TokensFrame, SegmentFrame, ProgressFrame, Blob, Completed, Failed)


@dataclass
class Part:
    """One node's part of a job, over one stream.

    turn: until the node has accepted. counted: see ``Prober``. place: at the node, until the stream is closed. sent_at,
    begun_at, last_at: of request, first and last output, monotonic seconds.
    """

    choice: Choice
    link: JobLink
    turn: Turn
    counted: OwnJob
    place: Place
    sent_at: float
    begun_at: float | None = None
    last_at: float | None = None


NextEvents = Callable[[Part], Awaitable[list[JobEvent]]]
Dismiss = Callable[[Part, GpunodeError | None], None]
"""Takes a part that is out of the race: it failed (why), or another one was first (None)."""


async def first_to_begin(
    first: Part,
    *,
    next_events: NextEvents,
    hedge: Callable[[Part], Coroutine[Any, Any, Part | None]],
    hedge_after_s: float,
    dismiss: Dismiss,
    leave: Callable[[Part], object],
) -> tuple[Part, list[JobEvent]]:
    """Return who began, with all that it said until then; or the last one that failed, with its failure.

    Args:
        first: who was asked.
        next_events: reads a part's stream.
        hedge: asks another node; None if there is nobody, or no need. Called once,
            and cancelled when the first begins meanwhile.
        hedge_after_s: when to do that.
        dismiss: is told of each part that lost. Nobody reads its stream any more then.
        leave: the same, for each part of a race that was broken off.
    """
    running = {asyncio.ensure_future(_until_decided(first, next_events)): first}
    opening: asyncio.Future[Part | None] | None = None
    timeout_s: float | None = hedge_after_s
    returned: Part | None = None
    try:
        while True:
            waiting: set[asyncio.Future[Any]] = {*running} if opening is None else {*running, opening}
            done, _ = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                timeout_s, opening = None, asyncio.ensure_future(hedge(first))
            if opening is not None and opening.done():  # before a failure in the same moment is the last one's
                second, opening = opening.result(), None
                if second is not None:
                    running[asyncio.ensure_future(_until_decided(second, next_events))] = second
            for task in [task for task in running if task in done]:
                part, events = running[task], task.result()
                failure = next((event.error for event in events if isinstance(event, Failed)), None)
                if failure is None or len(running) == 1:
                    returned = part
                    return part, events
                del running[task]
                dismiss(part, failure)
    finally:
        try:
            await end_all([*running, *([] if opening is None else [opening])])
        except asyncio.CancelledError:
            returned = None  # nobody gets it
            raise
        finally:
            second = result_of(opening)  # it may have been asked in the same moment
            for part in (*running.values(), *([] if second is None else [second])):
                if returned is None:
                    leave(part)
                elif part is not returned:
                    dismiss(part, None)


async def _until_decided(part: Part, next_events: NextEvents) -> list[JobEvent]:
    events: list[JobEvent] = []
    while not any(isinstance(event, _DECIDES) for event in events):
        events += await next_events(part)
    return events

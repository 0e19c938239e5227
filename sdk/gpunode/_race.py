"""Waits for a node's first output, and asks a second one too if it takes long: the first to begin does the job."""

import asyncio
from collections.abc import Awaitable, Callable

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import Completed, Failed, JobEvent
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.messages import ProgressFrame, SegmentFrame, TokensFrame

from gpunode._part import Part

_DECIDES = (TokensFrame, SegmentFrame, ProgressFrame, Blob, Completed, Failed)

NextEvents = Callable[[Part], Awaitable[list[JobEvent]]]
Dismiss = Callable[[Part, GpunodeError | None], None]
"""Takes a part that is out of the race: it failed (why), or another one was first (None)."""


async def first_to_begin(
    first: Part,
    *,
    next_events: NextEvents,
    hedge: Callable[[Part], Awaitable[Part | None]],
    hedge_after_s: float,
    dismiss: Dismiss,
    leave: Callable[[Part], object],
) -> tuple[Part, list[JobEvent]]:
    """Return who began, with all that it said until then; or the last one that failed, with its failure.

    Args:
        first: who was asked.
        next_events: reads a part's stream.
        hedge: asks another node, at most once; None if there is nobody, or no need.
        hedge_after_s: when to do that.
        dismiss: is told of each part that lost. Nobody reads its stream any more then.
        leave: the same, for each part of a race that was broken off.
    """
    running = {asyncio.ensure_future(_until_decided(first, next_events)): first}
    timeout_s: float | None = hedge_after_s
    returned: Part | None = None
    try:
        while True:
            done, _ = await asyncio.wait(running, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                timeout_s = None
                second = await hedge(first)
                if second is not None:
                    running[asyncio.ensure_future(_until_decided(second, next_events))] = second
                continue
            for task in done:
                part, events = running[task], task.result()
                failure = next((event.error for event in events if isinstance(event, Failed)), None)
                if failure is None or len(running) == 1:
                    returned = part
                    return part, events
                del running[task]
                dismiss(part, failure)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for part in running.values():
            if returned is None:
                leave(part)
            elif part is not returned:
                dismiss(part, None)


async def _until_decided(part: Part, next_events: NextEvents) -> list[JobEvent]:
    events: list[JobEvent] = []
    while not any(isinstance(event, _DECIDES) for event in events):
        events += await next_events(part)
    return events

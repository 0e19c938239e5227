"""Asks the tracker for jobs, one long poll after the other, while there is a free slot."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from gpunode_protocol.jobs_api import LONG_POLL_MAX_S, NextJob

from gpunode_node.bell import Bell
from gpunode_node.errors import TrackerBusy, TrackerRefused, TrackerUnreachable
from gpunode_node.pull.courier import pause_s
from gpunode_node.pull.offer import Offer

POLL_S: Final = LONG_POLL_MAX_S - 5
"""Below the longest, so that proxies with limits of half a minute do not cut every poll."""
QUICK_S: Final = 1.0
"""An empty answer that came sooner was no long poll: the tracker is spared the next one for a while."""
LOOK_AGAIN_S: Final = 1.0
"""Memory and disk are looked at so often while they keep new jobs away."""


class Taker:
    """``run`` is one task.

    Args:
        next_job: the long poll, at most so many seconds; calls back when the answer begins to come; raises
            TrackerUnreachable or TrackerRefused.
        offer: what can be taken now; nothing while the worker pauses, drains or lacks memory or disk.
        tell_offer: makes the tracker know what can be taken, and that no poll is under way; called between polls only.
        begin: takes a job.
        changed: rings when ``offer`` may have changed.
    """

    def __init__(
        self,
        next_job: Callable[[int, Callable[[], None]], Awaitable[NextJob]],
        offer: Callable[[], Offer],
        tell_offer: Callable[[], Awaitable[bool]],
        begin: Callable[[NextJob], None],
        changed: Bell,
    ) -> None:
        self._next_job = next_job
        self._offer = offer
        self._tell_offer = tell_offer
        self._begin = begin
        self._changed = changed
        self._told: Offer | None = None
        self.reasons: dict[str, int] = {}  #: why the newest poll brought nothing: queued jobs by reason

    async def run(self) -> None:
        """Take jobs for ever."""
        failures = 0
        while True:
            await self._until_something_can_be_taken()
            try:
                await self._take()
            except (TrackerUnreachable, TrackerRefused) as error:
                failures += 1
                wished_s = (error.retry_after_s or 0.0) if isinstance(error, TrackerBusy) else 0.0
                await asyncio.sleep(max(wished_s, pause_s(failures)))
            else:
                failures = 0

    async def _until_something_can_be_taken(self) -> None:
        while not self._offer().models:
            await self._changed.wait(LOOK_AGAIN_S)

    async def _take(self) -> None:
        """Poll once."""
        offer = self._offer()
        if offer != self._told:
            await self._tell()
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        try:
            answer = await self._poll(offer)
        except (TrackerUnreachable, TrackerRefused):
            self._told = None  # a job may have been on its way
            raise
        if answer is None:
            await self._tell()  # likewise, and perhaps nothing is taken any more
            return
        self.reasons = dict(answer.reasons)
        if answer.job_id is not None:
            self._begin(answer)
        elif clock() - asked_at < QUICK_S:
            await asyncio.sleep(pause_s(1))

    async def _tell(self) -> None:
        offer = self._offer()
        self._told = offer if await self._tell_offer() else None

    async def _poll(self, offer: Offer) -> NextJob | None:
        """Poll as long as the offer stands; None when it changed first.

        The tracker puts a job back that it could not hand over, or that is not held by what it is told next. One that
        is on its way is taken whatever changes: a file of megabytes takes minutes, and to leave it would cost it an
        attempt.
        """
        coming = asyncio.Event()
        polling = asyncio.ensure_future(self._next_job(POLL_S, coming.set))
        try:
            while not polling.done() and (coming.is_set() or self._offer() == offer):
                changing = asyncio.ensure_future(self._changed.wait(LOOK_AGAIN_S))
                await asyncio.wait({polling, changing}, return_when=asyncio.FIRST_COMPLETED)
                changing.cancel()
            return polling.result() if polling.done() else None
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

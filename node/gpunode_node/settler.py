"""Takes the outbox to the tracker: within a second when it can, again and again while it cannot."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable

from gpunode_protocol.tracker_api import SettlementBatch, SettlementReply

from gpunode_node.bell import Bell
from gpunode_node.errors import TrackerRefused, TrackerUnreachable
from gpunode_node.outbox import Outbox

logger = logging.getLogger(__name__)

BATCH_ITEMS = 500
FLUSH_INTERVAL_S = 1.0
GATHER_S = 0.25
"""After a nudge, what else becomes ready within this time goes in the same batch: for each batch tracker and node work
5 ms, which the jobs that run would feel."""
BACKOFF_S = 1.0
BACKOFF_MAX_S = 30.0

Submit = Callable[[SettlementBatch], Awaitable[SettlementReply]]
"""Posts a batch; raises TrackerUnreachable or TrackerRefused."""


class Settler:
    """Owns the way from outbox to tracker; ``run`` is one task."""

    def __init__(self, outbox: Outbox, submit: Submit) -> None:
        self._outbox = outbox
        self._submit = submit
        self._bell = Bell()
        self._returned = Bell()
        self._lock = asyncio.Lock()
        self._failures = 0
        self.problem = ""  #: why the last attempt failed, empty when it did not

    def nudge(self) -> None:
        """Say that there may be something to send."""
        self._bell.ring()

    def retry_now(self) -> None:
        """Say that the tracker is back: do not wait out the pause after a failure."""
        self._returned.ring()
        self._bell.ring()

    async def run(self) -> None:
        """Flush for ever."""
        while True:
            await self.flush()
            if self._failures:
                await self._returned.wait(min(BACKOFF_S * 2 ** (self._failures - 1), BACKOFF_MAX_S))
            elif await self._bell.wait(FLUSH_INTERVAL_S):
                await asyncio.sleep(GATHER_S)

    async def flush(self) -> bool:
        """Send all that is ready; return whether nothing is left."""
        async with self._lock:
            return await self._flush()

    async def _flush(self) -> bool:
        await self._outbox.write_pending()
        while True:
            try:
                items = await self._outbox.ready(BATCH_ITEMS)
            except sqlite3.Error as error:
                return self._failed(f"The outbox cannot be read: {error}.")
            if not items:
                self._failures, self.problem = 0, ""
                return True
            try:
                reply = await self._submit(SettlementBatch(items=tuple(entry.item for entry in items)))
            except (TrackerUnreachable, TrackerRefused) as error:
                return self._failed(str(error))
            if len(reply.results) != len(items):
                return self._failed("The tracker answered for another number of items than it was sent.")
            _report_unpaid(reply)
            answers = list(zip((entry.number for entry in items), reply.results, strict=True))
            try:
                await self._outbox.settle(answers)
            except sqlite3.Error as error:  # sent again later; the tracker answers duplicate then
                return self._failed(f"The tracker's answer cannot be noted: {error}.")
            if any(result.status == "retry" for result in reply.results):
                return self._failed("The tracker could not decide on every item yet.")

    def _failed(self, problem: str) -> bool:
        if not self._failures:
            logger.warning("settlement waits: %s", problem, extra={"event": "settlement_waits"})
        self._failures += 1
        self.problem = problem
        return False


def _report_unpaid(reply: SettlementReply) -> None:
    for result in reply.results:
        if result.status in {"rejected", "equivocation"}:
            logger.warning(
                "the tracker objects to an item: %s",
                result.reason,
                extra={"event": "settlement_refused", "status": result.status},
            )

"""Takes the ends of jobs to the tracker: at once when it can, again and again while it cannot."""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from gpunode_protocol.jobs_api import CompletionReply, JobCompletion

from gpunode_node.bell import Bell
from gpunode_node.errors import TrackerBusy, TrackerRefused, TrackerUnreachable
from gpunode_node.pull.completions import Completion, CompletionOutbox
from gpunode_node.pull.worker_link import LOST_STATUSES
from gpunode_node.registered_contact import UNAUTHORIZED

logger = logging.getLogger(__name__)

BACKOFF_S: Final = 1.0
BACKOFF_MAX_S: Final = 30.0
MAX_REASON_CHARS: Final = 2_000

Deliver = Callable[[str, bytes], Awaitable[CompletionReply]]
"""Posts a job's end; raises TrackerUnreachable or TrackerRefused."""


class Courier:
    """Delivers.

    Args:
        outbox: what it holds is dropped once it is answered for.
        deliver: posts one.
    """

    def __init__(self, outbox: CompletionOutbox, deliver: Deliver) -> None:
        self._outbox = outbox
        self._deliver = deliver
        self._returned = Bell()
        self.problem = ""  #: why the last attempt failed, empty when it did not

    def retry_now(self) -> None:
        """Say that the tracker is back: do not wait out the pause after a failure."""
        self._returned.ring()

    async def bring(self, completion: Completion) -> None:
        """Keep a job's end on disk, and deliver it until the tracker takes or refuses it."""
        await self._outbox.put(completion)
        await self.deliver(completion)

    async def deliver(self, completion: Completion) -> None:
        """Deliver what is in the outbox."""
        failures = 0
        while True:
            try:
                reply = await self._deliver(completion.job_id, completion.body)
            except TrackerRefused as error:
                if error.status != UNAUTHORIZED:
                    await self._refused(completion, error)
                    return
                problem, least_s = str(error), 0.0
            except TrackerUnreachable as error:
                problem, least_s = str(error), _wished_s(error)
            else:
                self.problem = ""
                await self._taken(completion, reply)
                return
            failures += 1
            if failures == 1:
                logger.warning("the end of a job waits: %s", problem, extra={"event": "completion_waits"})
            self.problem = problem
            await self._returned.wait(max(least_s, pause_s(failures)))

    async def _taken(self, completion: Completion, reply: CompletionReply) -> None:
        details = {"event": "completion_delivered", "job_id": completion.job_id, "status": reply.status}
        paid = reply.paid_microcredits
        logger.info("delivered: %s, paid %d micro-credits", reply.status, paid, extra=details)
        await self._outbox.remove(completion, reply.status, paid)

    async def _refused(self, completion: Completion, error: TrackerRefused) -> None:
        """Drop what the tracker does not want; a job that is still held is given up with the reason."""
        details = {"event": "completion_refused", "job_id": completion.job_id, "status": error.status}
        logger.warning("the end of a job was refused: %s", error, extra=details)
        await self._outbox.remove(completion, "lost" if error.status in LOST_STATUSES else "refused")
        if completion.success and error.status not in LOST_STATUSES:
            reason = f"The tracker refused the result: {error}"[:MAX_REASON_CHARS]
            body = JobCompletion(success=False, error=reason, attempt=completion.attempt or None)
            await self.bring(Completion.of(completion.job_id, body))


def pause_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row, ≥ 1, in seconds; by chance, so that nobody marches."""
    longest = min(BACKOFF_S * 2.0 ** min(failures - 1, 16), BACKOFF_MAX_S)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- only keeps workers from coming back together


def _wished_s(error: TrackerUnreachable) -> float:
    """Return how long the tracker wants to be left alone, in seconds."""
    return (error.retry_after_s or 0.0) if isinstance(error, TrackerBusy) else 0.0

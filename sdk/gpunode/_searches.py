"""Where a job gets other nodes from, when those that were ranked for it are used up."""

import asyncio
from collections.abc import Callable
from typing import Final

from gpunode._failed_attempts import FailedAttempts
from gpunode._job_requests import Job
from gpunode._job_services import JobServices
from gpunode._node_queue import NodeQueue
from gpunode._selection import Choice

FURTHER_SEARCHES: Final = 5
"""For a job of which nothing came. The pauses before them are six seconds: so long may a p2pd that died be away, a
node's or this client's own."""
SEARCHES_WHEN_REFUSED: Final = 2
"""Where a node says that the request is at fault and the others failed: they most likely would say the same."""


class Searches:
    """The further searches of one job. Each asks DHT and index anew; who failed already is asked last.

    Args:
        services: of the client.
        job: of which this is.
        nodes: its queue, which is filled.
        failed: its attempts so far.
        is_covered: whether its grant is enough for all of it at a node.
    """

    def __init__(
        self,
        services: JobServices,
        job: Job,
        nodes: NodeQueue,
        failed: FailedAttempts,
        is_covered: Callable[[Choice], bool],
    ) -> None:
        self._services = services
        self._job = job
        self._nodes = nodes
        self._failed = failed
        self._is_covered = is_covered
        self._began_at: float | None = None
        self._failures_before = 0

    @property
    def count(self) -> int:
        """How many there were so far."""
        return self._nodes.looks

    async def for_beginning(self) -> bool:
        """See that there is somebody who may begin the answer; return whether there is.

        When nobody is left, or as many have failed as may between two searches, the network is searched again, a few
        times within ``resume_for_s``. Not where all who were asked find fault with the request itself: that is said at
        once, and soon where only those contradict it who do not answer. A job of the tracker's queue waits there.
        """
        tried = len(self._failed) - self._failures_before
        if tried < self._services.max_attempts and self._nodes.has(_anybody):
            return True
        if not self._services.may_wait or self._failed.last_refusal is not None or self.count >= self._most:
            return False
        now = self._services.monotonic()
        self._began_at = now if self._began_at is None else self._began_at
        if now >= (until := self._until(self._began_at)):
            return False
        self._failures_before = len(self._failed)
        self._nodes.keep(_nobody)
        is_found = await self._refill(self._can_begin, until, self._most)
        return is_found and self._services.monotonic() < self._job.ends_at

    @property
    def _most(self) -> int:
        return SEARCHES_WHEN_REFUSED if self._failed.is_request_in_doubt else FURTHER_SEARCHES

    async def for_rest(self, can_finish: Callable[[Choice], bool], cut_at: float) -> None:
        """See that there is somebody who can go on with an answer that broke off at ``cut_at``, if possible."""
        if not self._nodes.has(_anybody):
            await self._refill(can_finish, self._until(cut_at))

    async def _refill(self, fits: Callable[[Choice], bool], until: float, most_looks: int | None = None) -> bool:
        left_s = self._job.ends_at - self._services.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left_s)):  # a search whose peers are silent takes ten seconds
                return await self._nodes.refill(
                    fits,
                    failed={attempt.node for attempt in self._failed.attempts},
                    until=until,
                    busy_until=self._services.breakers.busy_until,
                    most_looks=most_looks,
                )
        except TimeoutError:
            return False

    def _can_begin(self, choice: Choice) -> bool:
        """Return whether a node may be asked that was not ranked for the job; its grant was for those that were."""
        if choice.node in self._failed.excluded or choice.node in self._failed.refusers:
            return False
        if self._failed.is_request_in_doubt and choice.probe is None and self._failed.has_tried(choice.node):
            return False
        return self._is_covered(choice)

    def _until(self, since: float) -> float:
        return min(since + self._services.resume_for_s, self._job.ends_at)


def _anybody(_choice: Choice) -> bool:
    return True


def _nobody(_choice: Choice) -> bool:
    return False

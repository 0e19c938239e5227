"""The jobs that a pull worker holds: those that run, and those whose end has not reached the tracker."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from gpunode_protocol.jobs_api import LEASE_S, NextJob, WorkerEvent

from gpunode_node.bell import Bell
from gpunode_node.job_intake import JobIntake
from gpunode_node.pull.completions import Completion
from gpunode_node.pull.courier import Courier
from gpunode_node.pull.offer import Offer, offer_of
from gpunode_node.pull.pulled_job import PulledJob

logger = logging.getLogger(__name__)

MAX_HELD = 64
"""Of ``holding`` in one heartbeat."""

TellOf = Callable[[str, WorkerEvent], Awaitable[None]]
"""Posts an event of a job; raises TrackerUnreachable or TrackerRefused."""


class Workbench:
    """Owns the tasks of all jobs.

    Args:
        intake: runs them.
        courier: brings their ends to the tracker.
        tell: posts their events.
    """

    def __init__(self, intake: JobIntake, courier: Courier, tell: TellOf) -> None:
        self._intake = intake
        self._courier = courier
        self._tell = tell
        self._running: dict[str, PulledJob] = {}
        self._delivering: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.bell = Bell()  #: rings when a job came or went

    @property
    def holding(self) -> dict[str, int]:
        """Attempts by job id, as heartbeats say them."""
        running = {job.job_id: job.attempt for job in self._running.values() if job.attempt is not None}
        return dict(list((self._delivering | running).items())[:MAX_HELD])

    @property
    def offer(self) -> Offer:
        """What could be taken beside these jobs."""
        if len(self._running) + len(self._delivering) >= MAX_HELD:
            return Offer()
        return offer_of(self._intake.models, (job.model for job in self._running.values()))

    @property
    def lease_s(self) -> int:
        """How long the worker may be silent before it loses one of these jobs, in seconds."""
        return min((job.lease_s for job in self._running.values()), default=LEASE_S)

    @property
    def running(self) -> int:
        """Jobs that run."""
        return len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits for the tracker."""
        return not self._tasks

    def begin(self, given: NextJob) -> None:
        """Work on a job that the tracker gave."""
        job_id = given.job_id or ""
        if job_id in self._running:  # the same job again: its lease went without a word, and what runs is of no use
            self._running[job_id].lose()
        job = PulledJob(given, self._intake, lambda event: self._tell(job_id, event))
        self._running[job_id] = job
        logger.info("a job came", extra={"event": "job_pulled", "job_id": job_id, "attempt": given.attempt})
        self._own(self._work(job))
        self.bell.ring()

    def deliver(self, completions: Sequence[Completion]) -> None:
        """Deliver what an earlier process left."""
        for completion in completions:
            self._delivering[completion.job_id] = completion.attempt
            self._own(self._deliver(completion, self._courier.deliver))

    def lose(self, job_id: str) -> None:
        """Stop a job that the tracker does not want from here any more."""
        if job_id in self._running:
            logger.warning("a job was lost or cancelled", extra={"event": "job_lost", "job_id": job_id})
            self._running[job_id].lose()

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is held, at most ``timeout_s`` seconds; return whether that is so."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        return self.is_idle

    async def close(self) -> None:
        """Cancel what is under way; what the outbox has on disk is delivered after the next start."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, job: PulledJob) -> None:
        try:
            body = await job.run()
        finally:
            if self._running.get(job.job_id) is job:
                del self._running[job.job_id]
            self.bell.ring()
        if body is not None:
            self._delivering[job.job_id] = job.attempt or 0
            await self._deliver(Completion.of(job.job_id, body), self._courier.bring)

    async def _deliver(self, completion: Completion, bring: Callable[[Completion], Awaitable[None]]) -> None:
        try:
            await bring(completion)
        finally:
            if self._delivering.get(completion.job_id) == completion.attempt:
                del self._delivering[completion.job_id]
            self.bell.ring()

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a job's task failed", exc_info=error, extra={"event": "pulled_job_crashed"})

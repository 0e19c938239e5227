"""Following one job to its end. What is told of its state comes from the database; words only say when to look."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gpunode_protocol.jobs_api import JobEventName

from gpunode_tracker.jobs.job import JobStatus, StoredJob
from gpunode_tracker.jobs.news import Word
from gpunode_tracker.jobs.views import served_by
from gpunode_tracker.storage.jobs import find_job_state

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

HEARTBEAT_S: Final = 15.0
"""After so long without news the database is looked at, and followers hear that the connection lives."""
PRESENCE_S: Final = 1.0
"""Whether the follower is still there is looked at this often."""
_OUTPUT: Final = frozenset({JobEventName.TOKENS, JobEventName.PROGRESS})


@dataclass(frozen=True)
class JobEvent:
    """name: of ``JobEventName``. data: JSON object."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_last(self) -> bool:
        """Whether the job has ended."""
        return self.name == JobEventName.DONE


async def follow(
    tracker: "Tracker", job_id: str, *, is_gone: Callable[[], bool] = lambda: False
) -> AsyncGenerator[JobEvent | None, None]:
    """Yield the present state of a job and whatever happens to it, ``done`` last; None: nothing new for a while.

    Args:
        tracker: whose job it is.
        job_id: of a job that exists.
        is_gone: whether the follower has left, or has to: then it ends at once.
    """
    async with tracker.news.follow(job_id) as words:
        told: JobEvent | None = None
        word: Word | None = None
        while not is_gone():
            if word is not None and word.name in _OUTPUT:
                yield JobEvent(word.name, word.data)
            else:
                present = await _present(tracker, job_id)
                if present is None:
                    return
                if present != told:
                    yield present
                if present.is_last:
                    return
                told = present
            word = await _next_word(words, is_gone)
            if word is None:
                yield None


async def _next_word(words: "asyncio.Queue[Word]", is_gone: Callable[[], bool]) -> Word | None:
    """Return the next word; None: there was none for some time, or the follower has left."""
    loop = asyncio.get_running_loop()
    until = loop.time() + HEARTBEAT_S
    while not is_gone() and (left_s := until - loop.time()) > 0:
        try:
            async with asyncio.timeout(min(PRESENCE_S, left_s)):
                return await words.get()
        except TimeoutError:
            continue
    return None


async def _present(tracker: "Tracker", job_id: str) -> JobEvent | None:
    """Return the event that says how a job is; None: it was deleted."""
    async with tracker.database.read() as connection:
        job = await find_job_state(connection, job_id)
    return None if job is None else await state_event(tracker, job)


async def state_event(tracker: "Tracker", job: StoredJob) -> JobEvent:
    """Return the event that says how a job is."""
    if job.status is JobStatus.QUEUED:
        estimate = await tracker.outlook.of(job)
        data: dict[str, Any] = {"position": estimate.position, "estimated_wait": estimate.wait_s, "note": estimate.note}
        return JobEvent(JobEventName.QUEUED, data)
    if job.status is JobStatus.RUNNING:
        return JobEvent(JobEventName.RUNNING, {"attempt": job.attempt, "served_by": served_by(job)})
    return JobEvent(JobEventName.DONE, {"status": job.status.value, "error": job.error})

"""Without Redis, a replica finds out from the database what others did to the jobs that are followed here.

Also with Redis, but seldom: a lost word is to delay, never to mislead.
"""

import logging
from collections.abc import Callable
from typing import Final

from gpunode_protocol.jobs_api import JobEventName

from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.jobs.news import JobNews, Word
from gpunode_tracker.repeating import every
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.job_states import JobState, states_of
from gpunode_tracker.storage.queue_heads import Head, queue_heads

INTERVAL_S: Final = 1.0
SELDOM: Final = 10
"""While Redis brings the news, every tenth turn looks."""


class JobPoll:
    """Looks, and tells what is new to whoever waits in this process.

    Args:
        database: of the queue.
        news: of this process.
        is_told: whether other replicas' news come by themselves now.
    """

    def __init__(self, database: Database, news: JobNews, is_told: Callable[[], bool]) -> None:
        self._database = database
        self._news = news
        self._is_told = is_told
        self._states: dict[str, JobState] = {}
        self._heads: frozenset[Head] = frozenset()
        self._turns = 0

    async def run(self) -> None:
        """Look every second, until cancelled. What fails is tried again at the next turn."""
        await every(INTERVAL_S, self._take_turn, "job_poll_failed", level=logging.INFO)

    async def _take_turn(self) -> None:
        self._turns += 1
        if not self._is_told() or self._turns % SELDOM == 0:
            await self.look()

    async def look(self) -> None:
        """Tell what changed since the last look.

        A job that was not looked at before may have changed since its follower looked: if it runs or has ended, that
        is told, once more at worst.
        """
        followed = self._news.followed
        async with self._database.read() as connection:
            states = await states_of(connection, followed) if followed else {}
            heads = frozenset(await queue_heads(connection))
        for job_id, state in states.items():
            known = self._states.get(job_id)
            if state != known and (known is not None or state.status is not JobStatus.QUEUED):
                self._news.heard(_word(job_id, state))
        self._states = states
        is_new, self._heads = not heads <= self._heads, heads
        if is_new:
            await self._news.heard_queue()


def _word(job_id: str, state: JobState) -> Word:
    if state.status.is_final:
        return Word(job_id, JobEventName.DONE, {"status": state.status})
    if state.status is JobStatus.QUEUED:
        return Word(job_id, JobEventName.QUEUED)
    return Word(job_id, JobEventName.RUNNING, {"attempt": state.attempt, "served_by": state.served_by})

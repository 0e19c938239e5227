"""Polls that wait for a job in this process, and who of them gets one.

A job is offered in the order of ``selection.turn_order``, unless somebody nearer could have it who does not wait here.
The database decides in the end: what another replica took is gone, and each replica draws among its own waiters.
"""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from gpunode_protocol.jobs_api import NextJob

from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs.news import JobNews
from gpunode_tracker.repeating import attempt
from gpunode_tracker.storage.claim_statements import OlderOnly
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.queue_heads import Head, queue_heads
from gpunode_tracker.workers.by_ability import ByAbility
from gpunode_tracker.workers.nearest_first import MOST_LOOKED_AT, NearestFirst
from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.selection import Wanted, turn_order
from gpunode_tracker.workers.worker import StoredWorker

LOOK_INTERVAL_S: Final = 1.0
"""While somebody waits, the queue is looked into this often: other replicas' jobs may come without a word, and one that
was kept for somebody nearer is for others then."""
MAX_TRIES: Final = 3
"""Waiters that are tried for one job: at most two had it before, and only they are refused."""
DRAWN_FROM: Final = 256
"""Where more wait that are equally near, the lot falls among so many of them, chosen anew for each job: everybody's
chance is nearly that of a draw among all, and the tracker's work does not grow with their number."""


class Taking(Protocol):
    """Takes jobs out of the queue for workers."""

    def may_take(self, worker: LiveWorker) -> bool:
        """Return whether a worker is to be given jobs now."""
        ...

    async def take(self, worker: LiveWorker, lanes: Sequence[str], older_only: OlderOnly) -> NextJob | None:
        """Let a worker hold the first job of some lanes (see ``claim_job``); None if there is none for it."""
        ...

    async def undo(self, worker: LiveWorker, job: NextJob) -> None:
        """Give a job back that was not sent to the worker, as if it had not been taken."""
        ...


@dataclass(eq=False)
class _Poll:
    """One waiting request. is_gone: says whether its sender has left. giving: done when a try to give it a job ends.

    filed: what its worker could do when that was looked at last.
    """

    worker: LiveWorker
    is_gone: Callable[[], bool]
    given: asyncio.Future[NextJob | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    giving: asyncio.Future[None] | None = None
    filed: StoredWorker | None = None

    def end(self) -> None:
        """Let it wait no more, unless it is just being given a job."""
        if self.giving is None and not self.given.done():
            self.given.set_result(None)


class WaitingPolls:
    """The waiting polls of one process. ``run`` must run while polls wait.

    Args:
        database: of the queue.
        news: wakes ``run`` when the queue grows.
        taking: takes jobs.
        nearest: knows of others who could have them.
        monotonic: seconds.
        rng: draws.
    """

    def __init__(
        self,
        database: Database,
        news: JobNews,
        taking: Taking,
        nearest: NearestFirst,
        monotonic: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._database = database
        self._news = news
        self._taking = taking
        self._nearest = nearest
        nearest.waiting = self.workers
        self._monotonic = monotonic
        self._rng = rng
        self._polls: dict[_Poll, None] = {}
        self._by_ability: ByAbility[_Poll] = ByAbility()
        self._is_closed = False

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._polls)

    def workers(self, wanted: Wanted, way_km: int) -> Iterable[LiveWorker]:
        """Yield workers that could be given a job now, and are nearer to its client than so many km."""
        for km, polls in self._by_ability.able(wanted):
            if km < way_km:
                yield from (poll.worker for poll in itertools.islice(polls, MOST_LOOKED_AT) if self._is_free(poll))

    async def wait(self, worker: LiveWorker, timeout_s: float, is_gone: Callable[[], bool]) -> NextJob | None:
        """Wait until the worker is given a job; None after the time, or when the tracker stops.

        Args:
            timeout_s: seconds, ≥ 0.
            is_gone: whether who waits has left or may wait no more, so that nothing should be given to it; asked for
                every second, too.
        """
        if self._is_closed:
            return None
        poll = _Poll(worker, is_gone)
        self._polls[poll] = None
        self._file(poll)
        try:
            await asyncio.wait({poll.given}, timeout=timeout_s)
            if poll.giving is not None:  # the time is over, but a job may be on its way
                await asyncio.wait({poll.giving})
        except asyncio.CancelledError:
            if poll.given.done() and (job := poll.given.result()) is not None:  # and nobody will send it
                with suppress(StorageUnavailable):  # its lease ends some time
                    await asyncio.shield(self._taking.undo(worker, job))
            raise
        finally:
            del self._polls[poll]
            self._by_ability.discard(poll)
        return poll.given.result() if poll.given.done() else None

    async def run(self) -> None:
        """Give jobs to who waits, until cancelled. What fails is logged and tried again."""
        looked_at = self._monotonic()
        while True:
            changes = self._news.changes
            if self._monotonic() - looked_at >= LOOK_INTERVAL_S:  # not whenever the queue grows: there may be many
                looked_at = self._monotonic()
                self.let_go()
            await attempt(self.match, "matching_failed")
            await self._news.wait_for_queue(changes, LOOK_INTERVAL_S)

    async def match(self) -> int:
        """Give out jobs as long as there are some for those who wait; return how many."""
        count = 0
        while self._polls:
            async with self._database.read() as connection:
                heads = await queue_heads(connection)
            given = [head for head in heads if await self._give(head)]
            if not given:
                break
            count += len(given)
        return count

    def let_go(self) -> None:
        """Let those wait no more who have left; note what others can do now."""
        for poll in self._polls:
            if poll.is_gone():
                poll.end()
            elif poll.filed is not poll.worker.stored:
                self._file(poll)

    def close(self) -> None:
        """Let nobody wait any more: the tracker stops."""
        self._is_closed = True
        for poll in self._polls:
            poll.end()

    async def _give(self, head: Head) -> bool:
        """Give the first job of a lane to one of those who wait; return whether somebody got one."""
        for poll in itertools.islice(self._drawn(head), MAX_TRIES):
            is_kept = self._nearest.keeps_from_worker(head, poll.worker)
            if is_kept and not head.may_be_before_older:
                return False  # all that follow are as far, or farther
            older_only = self._nearest.older_only((head.lane,) if is_kept else ())
            if poll in self._polls and not poll.given.done() and await self._give_to(poll, head.lane, older_only):
                return True
        return False

    async def _give_to(self, poll: _Poll, lane: str, older_only: OlderOnly) -> bool:
        """Let a poll have the first job of a lane; return whether there was one, even if the poll has left by then."""
        giving = poll.giving = asyncio.get_running_loop().create_future()
        try:
            job = await self._taking.take(poll.worker, (lane,), older_only)
            if job is not None and (poll not in self._polls or poll.is_gone()):
                await self._taking.undo(poll.worker, job)
            elif job is not None:
                poll.given.set_result(job)
            return job is not None
        finally:
            poll.giving = None
            giving.set_result(None)
            if self._is_closed and not poll.given.done():
                poll.given.set_result(None)

    def _drawn(self, head: Head) -> Iterator[_Poll]:
        """Yield who may get a job, in the order in which they are asked; whoever polls twice has no second lot."""
        wanted, by_km = Wanted.of_lane(head.lane, head.client_region), defaultdict[int, list[_Poll]](list)
        for km, polls in self._by_ability.able(wanted):
            by_km[km] += polls
        for km in sorted(by_km):
            for some in self._samples(by_km[km]):
                of_worker = {poll.worker.id: poll for poll in reversed(some) if self._is_free(poll)}
                free = [poll.worker for poll in of_worker.values()]
                for worker in turn_order(wanted, free, self._rng, now=self._monotonic()):
                    yield of_worker[worker.id]

    def _samples(self, polls: list[_Poll]) -> Iterator[list[_Poll]]:
        """Yield all polls, so many at once that a draw is quick."""
        if len(polls) <= DRAWN_FROM:
            yield polls
            return
        first = self._rng.sample(polls, DRAWN_FROM)
        yield first
        had = set(first)
        rest = [poll for poll in polls if poll not in had]
        self._rng.shuffle(rest)
        for begin in range(0, len(rest), DRAWN_FROM):
            yield rest[begin : begin + DRAWN_FROM]

    def _is_free(self, poll: _Poll) -> bool:
        """Return whether a poll could be given a job now."""
        return not poll.given.done() and not poll.is_gone() and self._taking.may_take(poll.worker)

    def _file(self, poll: _Poll) -> None:
        poll.filed = poll.worker.stored
        self._by_ability.put(poll, poll.filed)

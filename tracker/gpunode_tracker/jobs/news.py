"""Who waits for something to happen hears of it at once: followers of a job, and whoever waits for the queue.

Only a hint, never the truth: the database has that, so that a lost word delays and never misleads. A follower that is
slower than its job misses the oldest words.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

MAX_WAITING_WORDS: Final = 1_024


@dataclass(frozen=True)
class Word:
    """name: of ``jobs_api.JobEventName``. data: JSON object."""

    job_id: str
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


class JobNews:
    """News of this process. ``on_word`` and ``on_queue`` carry them to other replicas, where there are any."""

    def __init__(self) -> None:
        self._followers: dict[str, set[asyncio.Queue[Word]]] = defaultdict(set)
        self._queue_changed = asyncio.Condition()
        self._changes = 0
        self.on_word: Callable[[Word], None] = _ignore
        self.on_queue: Callable[[], None] = lambda: None

    def tell(self, word: Word) -> None:
        """Tell the followers of a job, here and elsewhere."""
        self.heard(word)
        self.on_word(word)

    def heard(self, word: Word) -> None:
        """Tell the followers here."""
        for waiting in self._followers.get(word.job_id, ()):
            if waiting.full():
                waiting.get_nowait()
            waiting.put_nowait(word)

    @asynccontextmanager
    async def follow(self, job_id: str) -> AsyncIterator[asyncio.Queue[Word]]:
        """Return a queue in which the job's words arrive from now on."""
        waiting: asyncio.Queue[Word] = asyncio.Queue(MAX_WAITING_WORDS)
        self._followers[job_id].add(waiting)
        try:
            yield waiting
        finally:
            self._followers[job_id].discard(waiting)
            if not self._followers[job_id]:
                del self._followers[job_id]

    @property
    def followed(self) -> tuple[str, ...]:
        """Return the ids of the jobs that somebody follows here."""
        return tuple(self._followers)

    async def queue_grew(self) -> None:
        """Say that a job can be taken, here and elsewhere."""
        self.on_queue()
        await self.heard_queue()

    async def heard_queue(self) -> None:
        """Say so here."""
        async with self._queue_changed:
            self._changes += 1
            self._queue_changed.notify_all()

    @property
    def changes(self) -> int:
        """How often the queue grew; read it before looking into the queue."""
        return self._changes

    async def wait_for_queue(self, since: int, timeout_s: float) -> bool:
        """Wait until the queue grew after ``changes`` was ``since``; return whether it did within the time."""
        try:
            async with asyncio.timeout(timeout_s), self._queue_changed:
                await self._queue_changed.wait_for(lambda: self._changes != since)
        except TimeoutError:
            return False
        return True


def _ignore(_word: Word) -> None:
    """Nobody else is there."""

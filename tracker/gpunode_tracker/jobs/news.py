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
MAX_WAITING_CHARS: Final = 100_000
"""Of the texts in them, in which a character takes up to 4 bytes: a worker may say as much at once."""


@dataclass(frozen=True)
class Word:
    """name: of ``jobs_api.JobEventName``. data: JSON object."""

    job_id: str
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chars(self) -> int:
        """How long its texts are."""
        return sum(len(value) for value in self.data.values() if isinstance(value, str))


class _Words(asyncio.Queue[Word]):
    """Words that a follower has still to hear; the oldest make room."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._chars = 0

    def _put(self, item: Word) -> None:
        super()._put(item)
        self._chars += item.chars

    def _get(self) -> Word:
        word: Word = super()._get()
        self._chars -= word.chars
        return word

    def add(self, word: Word) -> None:
        """Add a word, the newest."""
        while self.full() or (not self.empty() and self._chars + word.chars > MAX_WAITING_CHARS):
            self.get_nowait()
        self.put_nowait(word)


class JobNews:
    """News of this process. ``on_word`` and ``on_queue`` carry them to other replicas, where there are any."""

    def __init__(self) -> None:
        self._followers: dict[str, set[_Words]] = defaultdict(set)
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
            waiting.add(word)

    @asynccontextmanager
    async def follow(self, job_id: str) -> AsyncIterator[asyncio.Queue[Word]]:
        """Return a queue in which the job's words arrive from now on."""
        waiting = _Words(MAX_WAITING_WORDS)
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

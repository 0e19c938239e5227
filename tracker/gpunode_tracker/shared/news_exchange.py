"""News of jobs between replicas, over one channel of Redis.

A hint, like all news: what cannot be sent now is dropped, and what comes and is not one of these messages is ignored.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, Literal

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis

from gpunode_tracker.jobs.news import JobNews, Word
from gpunode_tracker.shared.redis_link import RedisAway, RedisLink, failures_as_away
from gpunode_tracker.shared.task_end import end_tasks

MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_WAITING_MESSAGES: Final = 4_096
MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
"""To be sent; beyond either, the oldest are dropped."""
BATCH_MESSAGES: Final = 256
BATCH_BYTES: Final = 1024 * 1024
"""Sent at once: what takes longer than a call of Redis may would make it count as away."""
_LOOK_UP_S: Final = 1.0
"""A silent listener looks this often whether its connection is still one to the Redis that answers now."""


class Said(BaseModel):
    """One message. replica: who says it. job: None = the queue grew. name, data: of a ``Word``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replica: Annotated[str, MaxLen(32)]
    job: Annotated[str, MaxLen(64)] | None = None
    name: Literal["queued", "running", "tokens", "progress", "done"] | None = None
    data: dict[str, Any] = {}


class NewsExchange:
    """Carries the news of this replica to the others, and theirs to it.

    Args:
        replica: a name that no other has.
        on_dropped: called with the reason for every message that was not sent or not understood.

    ``waiting_bytes``: of what is still to be sent.
    """

    def __init__(self, link: RedisLink, news: JobNews, *, replica: str, on_dropped: Callable[[str], None]) -> None:
        self._link = link
        self._news = news
        self._replica = replica
        self._on_dropped = on_dropped
        self._channel = f"{link.prefix}:news"
        self._waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        self._queue_grew = False
        self._something = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.is_listening = asyncio.Event()

    def start(self) -> None:
        """Begin to listen and to send."""
        self._news.on_word, self._news.on_queue = self._note_word, self._note_queue
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._listen())]

    async def stop(self) -> None:
        """End both."""
        await end_tasks(self._tasks)

    def _note_word(self, word: Word) -> None:
        if not self._link.is_up:
            self._on_dropped("redis_away")
            return
        said = {"replica": self._replica, "job": word.job_id, "name": word.name, "data": dict(word.data)}
        message = json.dumps(said).encode()
        if len(message) > MAX_MESSAGE_BYTES:
            self._on_dropped("too_long")
            return
        while len(self._waiting) >= MAX_WAITING_MESSAGES or self.waiting_bytes + len(message) > MAX_WAITING_BYTES:
            self._take_first()
            self._on_dropped("too_many")
        self._waiting.append(message)
        self.waiting_bytes += len(message)
        self._something.set()

    def _take_first(self) -> bytes:
        message = self._waiting.popleft()
        self.waiting_bytes -= len(message)
        return message

    def _note_queue(self) -> None:
        self._queue_grew = True  # said once, however often it grew meanwhile
        self._something.set()

    async def _send(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while batch := self._next_batch():
                try:
                    await self._link.call(partial(self._publish, batch))
                except RedisAway:
                    for _ in batch:
                        self._on_dropped("redis_away")

    def _next_batch(self) -> list[bytes]:
        batch: list[bytes] = []
        room = BATCH_BYTES
        while self._waiting and len(batch) < BATCH_MESSAGES and len(self._waiting[0]) <= room:
            batch.append(self._take_first())
            room -= len(batch[-1])
        if self._queue_grew:
            self._queue_grew = False
            batch.append(Said(replica=self._replica).model_dump_json().encode())
        return batch

    async def _publish(self, batch: list[bytes], redis: Redis) -> None:
        pipeline = redis.pipeline(transaction=False)
        for message in batch:
            pipeline.publish(self._channel, message)
        await pipeline.execute()

    async def _listen(self) -> None:
        while True:
            await self._link.wait_until_up()
            listener, visit = self._link.listener(), self._link.visits
            try:
                with failures_as_away():
                    await listener.subscribe(self._channel)
                self.is_listening.set()
                await self._news.heard_queue()  # what was said meanwhile was missed
                while visit == self._link.visits:
                    with failures_as_away():
                        message = await listener.get_message(timeout=_LOOK_UP_S)
                    if message is not None:
                        await self._hear(message["data"])
            except RedisAway:
                self._link.doubt()
                await asyncio.sleep(_LOOK_UP_S)  # where only this is refused, the link would be up at once
            finally:
                self.is_listening.clear()
                await listener.aclose()  # type: ignore[no-untyped-call]  # -- has no annotations

    async def _hear(self, message: Any) -> None:
        said = _read(message)
        if said is None:
            self._on_dropped("malformed")
        elif said.replica == self._replica:
            return
        elif said.job is None:
            await self._news.heard_queue()
        else:
            self._news.heard(Word(said.job, said.name or "", said.data))


def _read(message: Any) -> Said | None:
    if not isinstance(message, bytes) or len(message) > MAX_MESSAGE_BYTES:
        return None
    try:
        said = Said.model_validate_json(message)
    except ValidationError:
        return None
    return None if (said.job is None) != (said.name is None) else said

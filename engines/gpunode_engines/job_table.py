"""The parent's record of the jobs that run in one child."""

import asyncio
from collections.abc import Iterator
from typing import assert_never

from gpunode_engines.base import Blob, Event, Finished, Progress, Segment, TokenLogprob, Tokens, Word
from gpunode_engines.errors import EngineError, EngineLost, EngineOverloaded, OutputLimit

_BYTES_PER_ID = 8

_BYTES_PER_EVENT = 16
"""Of an event that carries nothing, and of one word or logprob: they wait in memory too, and cost a child nothing."""


class Job:
    """One job in flight: events wait here until they are read.

    The consumer's side ends with the first failure or Finished; the slot is held until ``confirmed``.
    """

    def __init__(self, key: str, now: float, output_limit_bytes: int) -> None:
        self.key = key
        self.last_event_at = now  #: monotonic seconds
        self.cancelled_at: float | None = None  #: monotonic seconds of the first cancel
        self.confirmed = asyncio.Event()  #: the child is done with it
        self._events: asyncio.Queue[Event | EngineError] = asyncio.Queue()
        self._output_left = output_limit_bytes
        self._closed = False

    def deliver(self, event: Event) -> None:
        """Queue an event. Raises OutputLimit once the output exceeds its cap."""
        if self._closed:
            return
        self._output_left -= _output_bytes(event)
        if self._output_left < 0:
            raise OutputLimit
        self._closed = isinstance(event, Finished)
        self._events.put_nowait(event)

    def fail(self, error: EngineError) -> None:
        """End the consumer's side with an error, unless it has ended."""
        if not self._closed:
            self._closed = True
            self._events.put_nowait(error)

    async def next_event(self) -> Event:
        """Return the next event. Raises EngineError when the job failed; not called again after Finished."""
        event = await self._events.get()
        if isinstance(event, EngineError):
            raise event
        return event


class JobTable:
    """Jobs by key, at most ``slots``."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(tuple(self._jobs.values()))

    def get(self, key: str) -> Job | None:
        """Return a job in flight."""
        return self._jobs.get(key)

    def add(self, job: Job) -> None:
        """Take a slot. Raises EngineOverloaded when none is free or the key is in use."""
        if len(self._jobs) >= self._slots:
            raise EngineOverloaded(f"All {self._slots} slots of the engine are taken; wait until a job has ended.")
        if job.key in self._jobs:
            raise EngineOverloaded("This job runs here already; wait until it has ended.")
        self._jobs[job.key] = job

    def confirm(self, key: str) -> None:
        """The child is done with a job: free its slot."""
        if (job := self._jobs.pop(key, None)) is not None:
            job.confirmed.set()

    def fail_all(self, error: EngineLost) -> None:
        """The child is gone: fail every job, each with an error object of its own, and free the slots."""
        for job in self:
            job.fail(error.copy())
            self.confirm(job.key)


def _output_bytes(event: Event) -> int:
    return _BYTES_PER_EVENT + _carried_bytes(event)


def _carried_bytes(event: Event) -> int:
    match event:
        case Tokens():
            return (
                len(event.text.encode())
                + _BYTES_PER_ID * len(event.ids)
                + sum(map(_logprob_bytes, event.logprobs or ()))
            )
        case Segment():
            return len(event.text.encode()) + sum(map(_word_bytes, event.words or ()))
        case Blob():
            return len(event.data)
        case Progress():
            return len(event.preview)
        case Finished():
            return 0
        case _:
            assert_never(event)


def _word_bytes(word: Word) -> int:
    return _BYTES_PER_EVENT + len(word.text.encode())


def _logprob_bytes(logprob: TokenLogprob) -> int:
    return _BYTES_PER_EVENT * (1 + len(logprob.top))

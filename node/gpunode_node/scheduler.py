"""The queue in front of one engine: priority, then age; honest positions and waiting times. Pure.

The engine's slots are ``slots``; whoever has entered is told by its callbacks when it moves and when it may start.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gpunode_protocol.errors import ErrorCode, job_error

MIN_RETRY_AFTER_S = 1.0
_OBSERVED_WEIGHT = 0.2
"""Share of the newest job in the running average of the decoding speed."""
_OBSERVED_MIN_TOKENS = 16
"""Shorter jobs say too little about the speed."""


class Readiness(Protocol):
    """Whether the engine behind a queue can start a job at all, whatever its slots do."""

    def wait_s(self) -> float:
        """Return seconds until it can; 0 = now."""
        ...

    def hasten(self) -> None:
        """A job waits: do what makes it ready. ``engine_changed`` is called when something has come of it."""
        ...


class AlwaysReady:
    """The readiness of an engine that stays loaded."""

    def wait_s(self) -> float:
        """See ``Readiness``."""
        return 0.0

    def hasten(self) -> None:
        """See ``Readiness``."""


@dataclass(eq=False)
class Ticket:
    """A job's place in a queue.

    priority: 0 to 9, higher first. input_units, output_units: what it can take at most. on_start: it may run now.
    on_move(position, eta_s): its place or waiting time has changed.
    """

    priority: int
    input_units: int
    output_units: int
    on_start: Callable[[], None]
    on_move: Callable[[int, float], None]
    produced_units: int = 0
    position: int = 0
    eta_s: float = 0.0
    started_at: float | None = None
    number: int = field(default=0, init=False)


class Scheduler:
    """Slots and queue of one engine. All instants are monotonic seconds.

    Args:
        slots: jobs at once, >= 1.
        queue_limit: jobs that may wait, >= 0.
        input_units_per_s, output_units_per_s: measured with one stream, > 0.
        readiness: of the engine; jobs wait in the queue until it is ready.
    """

    def __init__(
        self,
        *,
        slots: int,
        queue_limit: int,
        input_units_per_s: float,
        output_units_per_s: float,
        readiness: Readiness | None = None,
    ) -> None:
        self.slots = slots
        self._queue_limit = queue_limit
        self._input_units_per_s = input_units_per_s
        self._output_units_per_s = output_units_per_s
        self._readiness = readiness or AlwaysReady()
        self._numbers = itertools.count(1)
        self._running: list[Ticket] = []
        self._waiting: list[Ticket] = []

    @property
    def active(self) -> int:
        """Jobs that run."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def check_room(self, now: float) -> None:
        """Raise the error that ``enter`` would raise, before any work is done for the job."""
        if len(self._running) + len(self._waiting) >= self.slots + self._queue_limit:
            retry_after_s = max(MIN_RETRY_AFTER_S, round(min(self._slot_times(now)), 1))
            raise job_error(
                ErrorCode.BUSY,
                f"All {self.slots} slots work and {len(self._waiting)} jobs wait; try another node, or this one in "
                f"{retry_after_s:g} s.",
                retry_after_s=retry_after_s,
            )

    def enter(self, ticket: Ticket, now: float) -> None:
        """Queue a job; it starts at once where a slot is free, and then ``position`` is 0.

        Raises:
            JobError: ``busy``.
        """
        self.check_room(now)
        ticket.number = next(self._numbers)
        self._waiting.append(ticket)
        self._waiting.sort(key=lambda other: (-other.priority, other.number))
        self._fill(now)
        self._refresh(now)

    def leave(self, ticket: Ticket, now: float) -> None:
        """Take a job out, whether it waits or runs (its slot is free then). Unknown tickets are ignored."""
        if ticket in self._running:
            self._running.remove(ticket)
            self._observe(ticket, now)
        elif ticket in self._waiting:
            self._waiting.remove(ticket)
        self._fill(now)
        self._refresh(now)

    def engine_changed(self, slots: int, now: float) -> None:
        """The engine has become ready, or not ready, or takes another number of jobs at once."""
        self.slots = slots
        self._fill(now)
        self._refresh(now)

    def wait_s(self, now: float) -> float:
        """Return how long a job that came now would wait for a slot, in seconds."""
        free_at = self._slot_times(now)
        for ticket in self._waiting:
            heapq.heapreplace(free_at, free_at[0] + self._duration_s(ticket))
        return free_at[0]

    def _fill(self, now: float) -> None:
        if self._waiting and self._readiness.wait_s() > 0:
            self._readiness.hasten()
            return
        while self._waiting and len(self._running) < self.slots:
            ticket = self._waiting.pop(0)
            ticket.started_at = now
            self._running.append(ticket)
            self._move(ticket, 0, self._prefill_s(ticket))
            ticket.on_start()

    def _refresh(self, now: float) -> None:
        free_at = self._slot_times(now)
        for index, ticket in enumerate(self._waiting):
            starts_in_s = free_at[0]
            heapq.heapreplace(free_at, starts_in_s + self._duration_s(ticket))
            self._move(ticket, index + 1, starts_in_s + self._prefill_s(ticket))

    @staticmethod
    def _move(ticket: Ticket, position: int, eta_s: float) -> None:
        moved = ticket.position != position
        ticket.position, ticket.eta_s = position, round(eta_s, 3)
        if moved:
            ticket.on_move(position, ticket.eta_s)

    def _slot_times(self, now: float) -> list[float]:
        """Return a heap of seconds until each slot is free."""
        times = [self._remaining_s(ticket, now) for ticket in self._running]
        times += [0.0] * (self.slots - len(times))
        ready_in_s = self._readiness.wait_s()
        times = [max(time_s, ready_in_s) for time_s in times]
        heapq.heapify(times)
        return times

    def _remaining_s(self, ticket: Ticket, now: float) -> float:
        output_s = (ticket.output_units - ticket.produced_units) / self._output_units_per_s
        if ticket.produced_units:
            return output_s
        elapsed_s = now - (now if ticket.started_at is None else ticket.started_at)
        return output_s + max(0.0, self._prefill_s(ticket) - elapsed_s)

    def _prefill_s(self, ticket: Ticket) -> float:
        return ticket.input_units / self._input_units_per_s

    def _duration_s(self, ticket: Ticket) -> float:
        return self._prefill_s(ticket) + ticket.output_units / self._output_units_per_s

    def _observe(self, ticket: Ticket, now: float) -> None:
        """Learn from a finished job: with several streams each one is slower than the measured one alone."""
        if ticket.started_at is None or ticket.produced_units < _OBSERVED_MIN_TOKENS:
            return
        span_s = now - ticket.started_at - self._prefill_s(ticket)
        if span_s > 0:
            observed = ticket.produced_units / span_s
            self._output_units_per_s += _OBSERVED_WEIGHT * (observed - self._output_units_per_s)

"""How long a client waits for a node before it gives it up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.messages import LIVENESS_TIMEOUT_S
from gpunode_protocol.tasks import Task


@dataclass(frozen=True)
class Patience:
    """How long a client waits, in seconds.

    liveness_s: for any frame. accept_s: for ``accepted``. first_output_s: from ``accepted``, or from the head of the
    queue, to the first output. queue_s: in the queue, and for each piece of input to be taken. cancel_s: from a cancel
    to ``done``. min_units_per_s: output units a second, over ``progress_window_s``; 0 = no demand.
    """

    liveness_s: float = LIVENESS_TIMEOUT_S
    accept_s: float = 30.0
    first_output_s: float = 30.0
    queue_s: float = 300.0
    cancel_s: float = 30.0
    min_units_per_s: float = 0.0
    progress_window_s: float = 10.0


MIN_ACCEPT_S = 5.0
"""Rendering and counting a long prompt takes a slow machine seconds, before it can quote."""
MIN_FIRST_OUTPUT_S = 2.0
MAX_FIRST_OUTPUT_S = 30.0

ASSUMED_UNITS_PER_S: Final[Mapping[Task, float]] = MappingProxyType(
    {Task.LLM: 1.0, Task.IMAGE_GEN: 25.6, Task.WHISPER: 1_000.0}
)
"""Output units a second that a node is held to which states no speed: one token; a step of 512 x 512 in ten seconds
(256 units, see ``prices``); audio as it is spoken. An embedding has no output units.

Nodes measure themselves and state more than 0, so this is no node's speed but the slowest that a job is worth waiting
for: at a quarter of it, which is what is demanded, the 600 s that a client gives a job by default are full with 150
tokens, 15 steps or 150 s of audio. Who states less than this is held to what it states: clients rank it by that.
"""


def expected_units_per_s(task: Task, advertised_units_per_s: float) -> float:
    """Return the speed that a node is held to, output units a second; ``advertised_units_per_s`` 0: it states none."""
    return advertised_units_per_s or ASSUMED_UNITS_PER_S.get(task, 0.0)


def patience_for(*, task: Task, predicted_first_output_s: float, advertised_units_per_s: float) -> Patience:
    """Return the design's deadlines.

    First output within max(2 s, 4 x predicted), at most 30 s; ``accepted`` within the same, but at least 5 s; after the
    first output a quarter of the advertised speed, or of ``ASSUMED_UNITS_PER_S`` where none is advertised.
    """
    first_s = min(MAX_FIRST_OUTPUT_S, max(MIN_FIRST_OUTPUT_S, 4 * predicted_first_output_s))
    return Patience(
        accept_s=max(MIN_ACCEPT_S, first_s),
        first_output_s=first_s,
        min_units_per_s=expected_units_per_s(task, advertised_units_per_s) / 4,
    )


class JobClock:
    """Knows when a node is to be given up: pings keep a connection, not a job. Instants are monotonic seconds."""

    def __init__(self, patience: Patience, opened_at: float) -> None:
        """Start with the stream's opening."""
        self.patience = patience
        self.heard_at = opened_at
        self.first_output_at: float | None = None
        self._opened_at = opened_at
        self._accepted_at: float | None = None
        self._head_at = opened_at  # since when the job is at the head of the queue
        self._position = 0
        self._upload_at: float | None = None  # last piece of input; None = nothing (more) to send
        self._cancelled_at: float | None = None
        self._window = (opened_at, 0)  # start of the progress window, work done then

    @property
    def is_queued(self) -> bool:
        """Whether jobs are ahead."""
        return self._position > 0

    def heard(self, now: float) -> None:
        """A frame came."""
        self.heard_at = now

    def accepted(self, now: float, position: int) -> None:
        """The node took the job; ``position``: jobs ahead."""
        self._accepted_at = self._head_at = now
        self._position = position

    def moved(self, now: float, position: int) -> None:
        """The job's place in the queue changed."""
        if position == 0 and self._position > 0:
            self._head_at = now
        self._position = position

    def upload(self, now: float) -> None:
        """A piece of input is about to be sent."""
        self._upload_at = now

    def uploaded(self, now: float) -> None:
        """All input was sent: waiting for the first output begins here. Whoever sends does not read meanwhile."""
        self._upload_at = None
        self._accepted_at = self._head_at = self.heard_at = now

    def output(self, now: float, work: int) -> None:
        """Output came; ``work``: output units done so far."""
        if self.first_output_at is None:
            self.first_output_at, self._window = now, (now, work)

    def cancel(self) -> None:
        """The node was asked to stop."""
        self._cancelled_at = self.heard_at

    def resume(self, now: float, work: int) -> None:
        """The reader had paused: what it did not read in that time is not the node's fault."""
        self.heard_at = self._head_at = now
        self._window = (now, work)
        self._accepted_at = None if self._accepted_at is None else now
        self._upload_at = None if self._upload_at is None else now
        self._cancelled_at = None if self._cancelled_at is None else now

    def _deadlines(self) -> Iterator[tuple[float, ErrorCode, str]]:
        patience = self.patience
        yield (
            self.heard_at + patience.liveness_s,
            ErrorCode.INTERNAL,
            f"The node was silent for {patience.liveness_s:g} s.",
        )
        if self._cancelled_at is not None:
            text = f"The node did not stop within {patience.cancel_s:g} s of the cancel."
            yield self._cancelled_at + patience.cancel_s, ErrorCode.TIME_LIMIT, text
        elif self._accepted_at is None:
            text = f"The node did not accept the job within {patience.accept_s:g} s."
            yield self._opened_at + patience.accept_s, ErrorCode.TIME_LIMIT, text
        elif self._upload_at is not None:
            text = f"The node took no input for {patience.queue_s:g} s."
            yield self._upload_at + patience.queue_s, ErrorCode.TIME_LIMIT, text
        elif self.first_output_at is None and self._position > 0:
            text = f"The job waited in the node's queue for {patience.queue_s:g} s."
            yield self._accepted_at + patience.queue_s, ErrorCode.TIME_LIMIT, text
        elif self.first_output_at is None:
            text = f"No output came within {patience.first_output_s:g} s."
            # a place that goes to and fro gains no time
            begun_at = min(self._head_at, self._accepted_at + patience.queue_s)
            yield begun_at + patience.first_output_s, ErrorCode.TIME_LIMIT, text

    def _demands_speed(self) -> bool:
        return self.first_output_at is not None and self._cancelled_at is None and self.patience.min_units_per_s > 0

    def next_at(self) -> float:
        """Return the next instant at which ``problem`` may find one."""
        times = [at for at, _, _ in self._deadlines()]
        if self._demands_speed():
            times.append(self._window[0] + self.patience.progress_window_s)
        return min(times)

    def problem(self, now: float, work: int) -> JobError | None:
        """Return why the node is to be given up now, or None; ``work``: output units done so far."""
        for at, code, text in self._deadlines():
            if now >= at:
                return job_error(code, text)
        start, before = self._window
        span_s = now - start
        if not self._demands_speed() or span_s < self.patience.progress_window_s:
            return None
        if work - before < self.patience.min_units_per_s * span_s:
            text = "The node is far slower than it advertises or, if it states no speed, than any node should be."
            return job_error(ErrorCode.TIME_LIMIT, text)
        self._window = (now, work)
        return None

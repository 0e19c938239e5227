"""When a node's silence is long enough to look whether its process is there. Pure; instants are monotonic seconds."""

from typing import Final

from gpunode_protocol.client_job import ClientJob
from gpunode_protocol.messages import PING_INTERVAL_S

MIN_SILENCE_S: Final = 0.2
"""Jitter of a home connection, and what an engine needs for one token beside other jobs, are shorter."""
MAX_SILENCE_S: Final = 1.0
"""Before the first output, and of what comes in lumps: a caller is to wait for a dead process no longer."""
QUEUED_SILENCE_S: Final = PING_INTERVAL_S + 0.5
"""A job that waits for others is in no hurry, and its node has many of them: only a missing ping is looked into."""
KNOCK_INTERVAL_S: Final = 1.0

_GAPS: Final = 4
"""So many times the usual gap is no pause as any other, and so many gaps make the usual one."""


class Silence:
    """How long the node of one job has been silent.

    Args:
        job: what it should be speaking about.
    """

    def __init__(self, job: ClientJob) -> None:
        self._job = job
        self._heard_at = job.opened_at
        self._usual_gap_s = 0.0
        self._knocked_at: float | None = None

    def heard(self, now: float) -> None:
        """Something came."""
        if self._job.first_output_at is not None:
            self._usual_gap_s += (now - max(self._heard_at, self._job.first_output_at) - self._usual_gap_s) / _GAPS
        self._heard_at = now

    def knocked(self, now: float) -> None:
        """Somebody went to look."""
        self._knocked_at = now

    def next_knock_at(self) -> float | None:
        """Return when to look, if nothing comes until then; None for a job that is over or was cancelled."""
        if self._job.is_over or self._job.cancelled:
            return None
        at = self._heard_at + self._limit_s()
        return at if self._knocked_at is None else max(at, self._knocked_at + KNOCK_INTERVAL_S)

    def _limit_s(self) -> float:
        if self._job.first_output_at is not None:
            return min(MAX_SILENCE_S, max(MIN_SILENCE_S, _GAPS * self._usual_gap_s))
        return QUEUED_SILENCE_S if self._job.is_queued else MAX_SILENCE_S

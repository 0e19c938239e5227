"""How much the tracker bench lets a tracker do."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Sizes and times of one run.

    Args:
        queued_jobs: that wait from the start.
        workers: pull workers that are registered; each sends one heartbeat in ``heartbeat_interval_s``.
        nodes: mesh nodes in the index.
        lines: connections of the look-ups and of the submissions.
        rounds: of each look-up, tracker and bare handler in turn.
        round_s: seconds of each side of a round.
        takers: workers that ask for jobs, one after another.
        keyed_takers: the same with keys: the tracker signs their jobs' requests, and grants on the jobs' reservations.
        takes: jobs that each of them takes; a worker may hold four.
        submit_s: seconds of submitting.
        heartbeat_s: seconds of heartbeats.
    """

    queued_jobs: int = 100_000
    workers: int = 10_000
    nodes: int = 24
    lines: int = 8
    rounds: int = 12
    round_s: float = 0.15
    takers: int = 150
    keyed_takers: int = 40
    takes: int = 3
    submit_s: float = 3.0
    heartbeat_interval_s: float = 60.0
    heartbeat_s: float = 20.0

    @property
    def heartbeats_per_s(self) -> float:
        """How many heartbeats all workers send together in a second."""
        return self.workers / self.heartbeat_interval_s


USUAL: Final = Effort()
"""``heartbeat_s`` is as long as the tracker takes from one reading of all workers to the next (``READ_INTERVAL_S``), so
that exactly one falls into it. The first one is when the tracker starts."""

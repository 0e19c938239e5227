"""What a node answers to a probe."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Probe:
    """A node's answer. rtt_ms: the smallest of the last minutes.

    active: jobs that run, with those that this client has sent since (``sent``). wait_ms: until a job would start.
    """

    rtt_ms: float
    active: int
    queued: int
    slots: int
    wait_ms: int = 0
    draining: bool = False
    sent: int = 0

    @property
    def told_active(self) -> int:
        """The jobs that the node itself knew of."""
        return self.active - self.sent

    @property
    def beside(self) -> float:
        """The share of the slots that others would use beside a job, 0 to below 1."""
        slots = max(1, self.slots)
        return min(self.active, slots - 1) / slots

    @property
    def load(self) -> float:
        """Jobs for each slot; 1 and more means waiting."""
        return (self.active + self.queued) / max(1, self.slots)

    @property
    def is_free(self) -> bool:
        """Whether a job would start at once."""
        return self.load < 1 and not self.draining


def after(probe: Probe, *, age_ms: float, sent: int, left: int) -> Probe:
    """Return what a node would answer now.

    Args:
        probe: its answer.
        age_ms: how old that is.
        sent: own jobs that it could not know of, and that are still there.
        left: own jobs that it knew of, and that have ended since.
    """
    active = max(0, probe.active - left)
    has_room_again = probe.active + probe.queued >= probe.slots > active + probe.queued
    wait_ms = 0 if has_room_again else max(0, round(probe.wait_ms - age_ms))
    return replace(probe, active=active + sent, wait_ms=wait_ms, sent=sent)

"""How much memory the node's own process may take, and what to do as it comes near. Pure.

What a node keeps for peers is bounded by many limits, each for itself; this one holds whatever they leave open.
"""

from enum import Enum

BUSY_SHARE = 0.75
"""Of the limit: from here on no new streams and jobs are taken; those that run go on."""
CALM_SHARE = 0.7
"""Of the limit: below this they are taken again."""
END_SHARE = 1.5
"""Of the limit: what is left of a drain is not worth the memory of this computer's other programs."""
STUCK_S = 600.0
"""Results are kept for re-attaching for ten minutes; memory that is not free after that has leaked."""


class MemoryStage(Enum):
    """What to do about the node's memory."""

    CALM = "take jobs"
    BUSY = "take no new jobs"
    FULL = "drain and end"
    END = "end at once"


class MemoryLimit:
    """Judges the samples of one process, oldest first. ``FULL`` stays.

    Args:
        max_bytes: resident, > 0.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._busy_since_s: float | None = None
        self._was_full = False

    def judge(self, resident_bytes: int, at_s: float) -> MemoryStage:
        """Return what to do now; ``at_s``: monotonic seconds."""
        share = resident_bytes / self.max_bytes
        if share > END_SHARE:
            return MemoryStage.END
        if self._was_full or share > 1.0:
            self._was_full = True
            return MemoryStage.FULL
        if share < (BUSY_SHARE if self._busy_since_s is None else CALM_SHARE):
            self._busy_since_s = None
            return MemoryStage.CALM
        if self._busy_since_s is None:
            self._busy_since_s = at_s
        self._was_full = at_s - self._busy_since_s > STUCK_S
        return MemoryStage.FULL if self._was_full else MemoryStage.BUSY

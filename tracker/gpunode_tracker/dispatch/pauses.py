"""Lanes of the queue that are left alone for a while, because their jobs found no node. Pure."""

from dataclasses import dataclass
from typing import Final

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0


@dataclass
class _Pause:
    until: float
    length_s: float


class LanePauses:
    """Each further failure of a lane makes its pause twice as long; a job that found a node ends that.

    Instants: monotonic seconds.
    """

    def __init__(self) -> None:
        self._pauses: dict[str, _Pause] = {}

    def failed(self, lane: str, now: float) -> None:
        """Leave a lane alone, longer than the last time."""
        before = self._pauses.get(lane)
        length_s = FIRST_PAUSE_S if before is None else min(LONGEST_PAUSE_S, 2 * before.length_s)
        self._pauses[lane] = _Pause(now + length_s, length_s)

    def succeeded(self, lane: str) -> None:
        """Forget what was."""
        self._pauses.pop(lane, None)

    def is_paused(self, lane: str, now: float) -> bool:
        """Return whether a lane is to be left alone now."""
        pause = self._pauses.get(lane)
        return pause is not None and now < pause.until

    def forget_old(self, now: float) -> None:
        """Forget lanes whose last failure was long ago."""
        self._pauses = {lane: pause for lane, pause in self._pauses.items() if now < pause.until + LONGEST_PAUSE_S}

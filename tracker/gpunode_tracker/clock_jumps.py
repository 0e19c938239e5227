"""Notices that the wall clock was set: it and a monotonic clock went on by different amounts."""

from collections.abc import Callable
from typing import Final

JUMP_S: Final = 5.0
"""Less is what clocks are corrected by while they run."""


class ClockJumps:
    """Watches a clock.

    Args:
        clock: Unix seconds.
        monotonic: seconds.
    """

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._offset_s = clock() - monotonic()

    def seen(self) -> bool:
        """Return whether the clock was set, forwards or back, since the last call that said so."""
        offset_s = self._clock() - self._monotonic()
        if abs(offset_s - self._offset_s) <= JUMP_S:
            return False
        self._offset_s = offset_s
        return True

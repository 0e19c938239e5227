"""One clock for what trackers tell each other by instants: ends of leases, signs of life, ends of rotated tokens.

Their own clocks may differ, and one that is a minute ahead would take every job from workers that live. The database's
is the same for all. Between two looks at it a monotonic clock goes on, so that a clock that is set here moves nothing.
"""

import logging
import time
from typing import TYPE_CHECKING, Final

from prometheus_client import Gauge

from gpunode_tracker import Clock

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S: Final = 5.0
MAX_DIFFERENCE_S: Final = 5.0
"""Beyond, the operator is told: grants, keys, bans and the order of the queue go by each tracker's own clock."""
SLOW_LOOK_S: Final = 2.0
"""An answer that took longer says too little of what time it is now."""


class CommonClock:
    """Unix seconds: of the own clock, or of the database's once that was read.

    Args:
        own: Unix seconds, of this process.
    """

    def __init__(self, own: Clock) -> None:
        self._own = own
        self._monotonic: Clock = time.monotonic
        self._offset_s: float | None = None
        self._is_off = False

    def __call__(self) -> float:
        """Return the time."""
        return self._own() if self._offset_s is None else self._monotonic() + self._offset_s

    @property
    def ahead_s(self) -> float:
        """How far the own clock is ahead, seconds; negative: behind."""
        return self._own() - self()

    @property
    def is_followed(self) -> bool:
        """Whether it goes by the database's clock, so that somebody has to ``look`` again and again."""
        return self._offset_s is not None

    async def follow(self, tracker: "Tracker") -> None:
        """Begin to go by the database's clock, if other trackers may use that; before anything is served.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        if not tracker.database.is_shared:
            return
        await self.look(tracker)
        ahead = Gauge(
            "gpunode_tracker_clock_ahead_seconds",
            "How far this machine's clock is ahead of the database's.",
            registry=tracker.metrics.registry,
        )
        ahead.set_function(lambda: self.ahead_s)

    async def look(self, tracker: "Tracker") -> None:
        """Read the database's clock, and say once if the own one differs much.

        Raises:
            StorageUnavailable: it goes on as before.
        """
        self._monotonic = tracker.monotonic
        asked_at = self._monotonic()
        database_s = await tracker.database.time()
        answered_at = self._monotonic()
        if self._offset_s is not None and answered_at - asked_at > SLOW_LOOK_S:
            return
        self._offset_s = database_s - (asked_at + answered_at) / 2
        self._tell()

    def _tell(self) -> None:
        ahead_s = self.ahead_s
        if (abs(ahead_s) > MAX_DIFFERENCE_S) is self._is_off:
            return
        self._is_off = not self._is_off
        if not self._is_off:
            logger.info("This machine's clock agrees with the database's again", extra={"event": "clock_agrees"})
            return
        logger.warning(
            "This machine's clock is %.0f s %s the database's. Jobs keep their workers all the same, but grants, keys, "
            "bans and the order of the queue go by the clock here. Set the one that is wrong (NTP).",
            abs(ahead_s),
            "ahead of" if ahead_s > 0 else "behind",
            extra={"event": "clock_differs", "ahead_s": round(ahead_s, 1)},
        )

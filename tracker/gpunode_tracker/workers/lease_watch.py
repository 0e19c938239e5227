"""Finds holders of jobs that fell silent, and is not misled by a clock that was set."""

import logging
from typing import TYPE_CHECKING, Final

from gpunode_tracker.clock_jumps import ClockJumps
from gpunode_tracker.storage.jobs import renew_all_leases

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)

LEASE_INTERVAL_S: Final = 5.0
AWAY_PART: Final = 1 / 2
"""Of a lease. A holder is heard every 20 s, so in a shorter gap no lease goes that was heard in time."""


class LeaseWatch:
    """Looks for leases that are over.

    Leases end at instants of the wall clock, which replicas share. When that was set, or when this process did not
    look for a while (it was started, or the database did not answer), all leases begin anew: holders that live could
    perhaps not be heard, and a job whose holder is gone is found out at most one lease's time later.

    Args:
        tracker: whose jobs they are.
    """

    def __init__(self, tracker: "Tracker") -> None:
        self._tracker = tracker
        self._jumps = ClockJumps(tracker.clock, tracker.monotonic)
        self._looked_at = float("-inf")

    async def look(self) -> int:
        """Take jobs from silent holders; return how many.

        Raises:
            StorageUnavailable: it is tried again with the next call.
        """
        away_s = AWAY_PART * self._tracker.settings.lease_s
        was_set, was_away = self._jumps.seen(), self._tracker.monotonic() - self._looked_at > away_s
        if was_set or was_away:
            await self._begin_anew("The clock was set" if was_set else "Holders could not be heard for a while")
            expired = 0
        else:
            expired = await self._tracker.workers.outcomes.expire_leases()
        self._looked_at = self._tracker.monotonic()
        return expired

    async def _begin_anew(self, why: str) -> None:
        lease_s = self._tracker.settings.lease_s
        async with self._tracker.database.write() as connection:
            count = await renew_all_leases(connection, now=self._tracker.now, lease_s=lease_s)
        if count:
            logger.warning("%s: %d leases begin anew", why, count, extra={"event": "leases_begin_anew"})

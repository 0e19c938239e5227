"""Finds holders of jobs that fell silent, and is not misled by a clock that was set."""

import logging
from typing import TYPE_CHECKING, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.clock_jumps import ClockJumps
from gpunode_tracker.storage.documents import find_constant, replace_value
from gpunode_tracker.storage.jobs import renew_all_leases

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)

LEASE_INTERVAL_S: Final = 5.0
AWAY_PART: Final = 1 / 2
"""Of a lease. A holder is heard every 20 s, so in a shorter gap no lease goes that was heard in time."""
LOOKED_LATELY_S: Final = 3 * LEASE_INTERVAL_S
"""If any tracker looked at the leases within this time, holders could be heard."""
_LOOKED_AT: Final = "leases_looked_at"


class LeaseWatch:
    """Looks for leases that are over.

    Leases end at instants of a wall clock that replicas share. When that was set, or when nobody looked for a while
    (this process was started, or the database did not answer, and no other replica looked meanwhile), all leases begin
    anew: holders that live could perhaps not be heard, and a job whose holder is gone is found out at most one lease's
    time later.

    Args:
        tracker: whose jobs they are.
    """

    def __init__(self, tracker: "Tracker") -> None:
        self._tracker = tracker
        self._jumps = ClockJumps(tracker.common_clock, tracker.monotonic)
        self._looked_at = float("-inf")

    async def look(self) -> int:
        """Take jobs from silent holders; return how many.

        Raises:
            StorageUnavailable: it is tried again with the next call.
        """
        away_s = AWAY_PART * self._tracker.settings.lease_s
        was_set, was_away = self._jumps.seen(), self._tracker.monotonic() - self._looked_at > away_s
        expired = 0
        if was_set:
            await self._begin_anew("The clock was set")
        elif was_away and not await self._others_looked():
            await self._begin_anew("Holders could not be heard for a while")
        else:
            expired = await self._tracker.workers.outcomes.expire_leases()
            await self._say_looked()
        self._looked_at = self._tracker.monotonic()
        return expired

    @property
    def _now(self) -> int:
        return int(self._tracker.common_clock())

    async def _others_looked(self) -> bool:
        """Return whether another replica has just looked, so that holders could be heard there."""
        if not self._tracker.database.is_shared:
            return False
        async with self._tracker.database.read() as connection:
            looked_at = await find_constant(connection, _LOOKED_AT)
        return looked_at is not None and abs(self._now - int(looked_at)) <= LOOKED_LATELY_S

    async def _say_looked(self) -> None:
        if self._tracker.database.is_shared:
            async with self._tracker.database.write() as connection:
                await self._note_look(connection)

    async def _begin_anew(self, why: str) -> None:
        lease_s = self._tracker.settings.lease_s
        async with self._tracker.database.write() as connection:
            count = await renew_all_leases(connection, now=self._now, lease_s=lease_s)
            await self._note_look(connection)
        if count:
            logger.warning("%s: %d leases begin anew", why, count, extra={"event": "leases_begin_anew"})

    async def _note_look(self, connection: AsyncConnection) -> None:
        if self._tracker.database.is_shared:
            await replace_value(connection, _LOOKED_AT, str(self._now).encode())

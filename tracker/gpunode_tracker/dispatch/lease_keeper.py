"""Keeps a queued job while it is at a node, and notices when it is kept no longer."""

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gpunode_protocol.jobs_api import LEASE_HEARTBEAT_INTERVAL_S, JobEventName

from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs.job import Lease
from gpunode_tracker.jobs.news import Word

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)

RENEW_INTERVAL_S: Final = float(LEASE_HEARTBEAT_INTERVAL_S)


class LeaseKeeper:
    """Renews a lease.

    Args:
        tracker: whose queue it is.
        lease: just given.
        interval_s: seconds between two renewals.
    """

    def __init__(self, tracker: "Tracker", lease: Lease, *, interval_s: float = RENEW_INTERVAL_S) -> None:
        self._tracker = tracker
        self._lease = lease
        self._interval_s = interval_s

    async def until_lost(self) -> None:
        """Renew the lease until the job has ended, was cancelled or belongs to somebody else.

        The news of this process tell so at once; of what another replica did, the next renewal tells, if not the news.
        While the database does not answer, the job counts as kept: whoever would get it needs the database too.
        """
        async with self._tracker.news.follow(self._lease.job_id) as words:
            while await self._renew():
                try:
                    async with asyncio.timeout(self._interval_s):
                        await _until_done(words)
                        return
                except TimeoutError:
                    pass

    async def _renew(self) -> bool:
        try:
            return self._lease in await self._tracker.workers.renewals.renew((self._lease,))
        except StorageUnavailable as error:
            logger.warning("A lease was not renewed: %s", error, extra={"event": "lease_not_renewed"})
            return True


async def _until_done(words: "asyncio.Queue[Word]") -> None:
    while (await words.get()).name != JobEventName.DONE:
        pass

"""A large job on its way to its worker, which does not know yet what it will hold."""

import contextlib
from typing import TYPE_CHECKING, Final

from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs.job import Lease, worker_holder
from gpunode_tracker.workers.presence import LiveWorker

if TYPE_CHECKING:
    from gpunode_protocol.jobs_api import NextJob

    from gpunode_tracker.tracker import Tracker

RENEWALS_A_LEASE: Final = 3
"""So often is a lease renewed while it lasts."""


class HandingOver:
    """Keeps a job its worker's for as long as it takes piece after piece: no heartbeat can name the job until then.

    Args:
        tracker: whose job it is.
        worker: who was given it.
        job: as it is sent, with id and attempt.
    """

    def __init__(self, tracker: "Tracker", worker: LiveWorker, job: "NextJob") -> None:
        self._tracker = tracker
        self._worker = worker
        self._lease = Lease(job_id=job.job_id or "", holder=worker_holder(worker.id), attempt=job.attempt or 0)
        self._renewed_at = tracker.monotonic()

    async def piece_taken(self) -> None:
        """Note that another piece was taken, a sign of life as good as a heartbeat."""
        now = self._tracker.monotonic()
        if now - self._renewed_at < self._tracker.settings.lease_s / RENEWALS_A_LEASE:
            return
        self._renewed_at = now
        workers = self._tracker.workers
        workers.presence.hear(self._worker)
        with contextlib.suppress(StorageUnavailable):  # the next piece is soon taken, and the lease lasts until then
            await workers.renewals.renew((self._lease,))

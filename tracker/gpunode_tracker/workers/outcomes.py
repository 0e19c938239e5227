"""How attempts of pull workers end: the queue's desk, the worker's statistics and its live state together."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from gpunode_protocol.client_job import Completed
from gpunode_protocol.identity import PeerId
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.jobs.desk import Also
from gpunode_tracker.jobs.job import WORKER_HOLDER, Lease, StoredJob
from gpunode_tracker.storage import workers
from gpunode_tracker.storage.jobs import expired_leases
from gpunode_tracker.workers.statistics import Statistics

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

WORKER_SILENT: Final = "The worker was silent for {lease_s} s."
DISPATCH_SILENT: Final = "The tracker process that had sent it to a node was silent for {lease_s} s."
EXPIRED_BATCH: Final = 100
MAX_REASON_CHARS: Final = 2_000

Change = Callable[[Statistics], Statistics]


class Outcomes:
    """Ends attempts.

    Args:
        tracker: whose desk and workers they are.
    """

    def __init__(self, tracker: "Tracker") -> None:
        self._tracker = tracker

    async def complete(
        self,
        lease: Lease,
        result: dict[str, Any],
        *,
        started_at: int,
        peer: PeerId | None = None,
        proof: Completed | None = None,
    ) -> StoredJob | None:
        """End a job with its result; None, and nothing is changed, if the lease is not in force (any more).

        Args:
            lease: the worker's.
            started_at: when it got the job, Unix seconds; a finer instant is used where this process knows one.
            peer, proof: the worker's key and what it proved by it, which is paid.
        """
        latency_ms = self._latency_ms(lease, started_at)
        return await self._end(
            lease,
            lambda known: known.after_success(latency_ms),
            lambda also: self._tracker.desk.complete(
                lease,
                result,
                processing_ms=latency_ms,  # estimates go by it, so it is no worker's word
                node=peer,
                voucher=proof.voucher if proof else None,
                receipt=proof.receipt if proof else None,
                also=also,
            ),
        )

    async def fail(self, lease: Lease, reason: str, *, retryable: bool = True) -> StoredJob | None:
        """End an attempt that its worker gave up or did wrong; None as above.

        It counts against the worker also where it says that the job is at fault: nobody can check that, and a worker
        that says so of every job should get fewer.

        Args:
            reason: shown to the job's owner.
            retryable: False = nobody else could do it either.
        """
        return await self._end(
            lease,
            Statistics.after_failure,
            lambda also: self._tracker.desk.fail(lease, shown_text(reason), retryable=retryable, also=also),
        )

    async def expire_leases(self) -> int:
        """Take jobs from holders that were not heard in time; return how many."""
        expired = 0
        while True:
            async with self._tracker.database.read() as connection:
                batch = await expired_leases(connection, now=int(self._tracker.common_clock()), limit=EXPIRED_BATCH)
            taken = [lease for lease in batch if await self._expire(lease)]
            expired += len(taken)
            if not taken:
                return expired

    async def _expire(self, lease: Lease) -> bool:
        lease_s = self._tracker.settings.lease_s
        if not lease.holder.startswith(WORKER_HOLDER):
            return await self._tracker.desk.fail(lease, DISPATCH_SILENT.format(lease_s=lease_s)) is not None
        job = await self.fail(lease, WORKER_SILENT.format(lease_s=lease_s))
        self._tracker.workers.presence.lose(_worker_id(lease), lease.job_id)
        return job is not None

    async def _end(
        self,
        lease: Lease,
        change: Change,
        end: Callable[[Also], Awaitable[StoredJob | None]],
    ) -> StoredJob | None:
        """Let ``end`` end an attempt, with the change of the worker's statistics in the same transaction."""
        pool, worker_id, changed = self._tracker.workers, _worker_id(lease), list[Statistics]()

        async def also(connection: AsyncConnection) -> None:
            stored = await workers.find_worker(connection, worker_id, lock=True)
            if stored is not None and not await workers.is_owners(connection, stored.peer, lease.job_id):
                changed.append(change(stored.statistics))
                await workers.save_statistics(connection, worker_id, changed[-1])

        job = await end(also)
        pool.renewals.forget(lease)
        pool.presence.release(worker_id, lease.job_id)
        if job is not None and changed:
            pool.presence.amend(worker_id, statistics=changed[-1])
        return job

    def _latency_ms(self, lease: Lease, started_at: int) -> int:
        presence = self._tracker.workers.presence
        worker = presence.find(_worker_id(lease))
        held = worker.holding.get(lease.job_id) if worker is not None else None
        if held is not None and held.is_exact and held.attempt == lease.attempt:
            return round(1000 * (presence.monotonic() - held.since))
        return 1000 * max(0, self._tracker.now - started_at)


def shown_text(reason: str) -> str:
    """Return a reason that may have come from a stranger, as it is kept: it ends on terminals and in web pages."""
    return "".join(letter if letter.isprintable() else " " for letter in reason[:MAX_REASON_CHARS])


def _worker_id(lease: Lease) -> str:
    return lease.holder.removeprefix(WORKER_HOLDER)

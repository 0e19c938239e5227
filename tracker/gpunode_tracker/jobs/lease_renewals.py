"""Renewing leases, many in one transaction: workers are heard often, and each commit waits for the disk."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gpunode_protocol.jobs_api import LEASE_S
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.jobs.job import Lease
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.jobs import renew_lease

FRESH_S: Final = 5.0
"""A lease that was renewed this lately is in force long enough: a worker that sends tokens is heard all the time."""
MAX_FRESH: Final = 10_000
"""Leases remembered as fresh."""


@dataclass
class _Batch:
    """Leases to be renewed together, and what came of it."""

    leases: set[Lease] = field(default_factory=set)
    held: frozenset[Lease] = frozenset()
    error: BaseException | None = None
    is_done: bool = False


class LeaseRenewals:
    """Renews leases. What comes while a transaction runs, goes into the next one together.

    Args:
        database: of the jobs.
        now: whole Unix seconds.
        monotonic: seconds.
        lease_s: for so long a lease is renewed.
    """

    def __init__(
        self, database: Database, now: Callable[[], int], monotonic: Callable[[], float], *, lease_s: int = LEASE_S
    ) -> None:
        self._database = database
        self._now = now
        self._monotonic = monotonic
        self._lease_s = lease_s
        self._turn = asyncio.Lock()
        self._next = _Batch()
        self._fresh: dict[Lease, float] = {}

    async def renew(self, leases: Sequence[Lease], *, unless_fresh: bool = False) -> frozenset[Lease]:
        """Let holders have their jobs for a lease's time more; return those leases that are in force.

        Args:
            unless_fresh: a lease that was renewed in the last seconds counts as in force, unseen.

        Raises:
            StorageUnavailable: none was renewed; they last as long as before.
        """
        fresh_since = self._monotonic() - FRESH_S
        fresh = {lease for lease in leases if unless_fresh and self._fresh.get(lease, -1e9) >= fresh_since}
        stale = [lease for lease in leases if lease not in fresh]
        if not stale:
            return frozenset(fresh)
        batch = self._next
        batch.leases.update(stale)
        async with self._turn:
            if not batch.is_done:
                self._next = _Batch()
                await self._write(batch)
        if batch.error is not None:
            raise batch.error
        return frozenset(fresh) | batch.held.intersection(stale)

    def forget(self, lease: Lease) -> None:
        """Note that a lease ended."""
        self._fresh.pop(lease, None)

    async def _write(self, batch: _Batch) -> None:
        """Write a batch; if the one who does it is cancelled, the next who waits for it does."""
        try:
            async with self._database.write() as connection:
                batch.held = await self._renewed(connection, batch.leases)
            self._remember(batch)
        except Exception as error:  # noqa: BLE001 -- it belongs to everybody who waits for this batch
            batch.error = error
        batch.is_done = True

    async def _renewed(self, connection: AsyncConnection, leases: set[Lease]) -> frozenset[Lease]:
        now, lease_s = self._now(), self._lease_s
        ordered = sorted(leases, key=lambda lease: lease.job_id)  # one order everywhere, so that nobody locks crosswise
        return frozenset([lease for lease in ordered if await renew_lease(connection, lease, now=now, lease_s=lease_s)])

    def _remember(self, batch: _Batch) -> None:
        at = self._monotonic()
        if len(self._fresh) + len(batch.held) > MAX_FRESH:
            self._fresh = {lease: renewed for lease, renewed in self._fresh.items() if renewed >= at - FRESH_S}
        for lease in batch.leases:
            if lease in batch.held:
                self._fresh[lease] = at
            else:
                self._fresh.pop(lease, None)

"""Queued jobs for the storage's tests, and what workers do to them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.job import JobStatus, Lease, Outcome, StoredJob, worker_holder
from gpunode_tracker.jobs.lanes import lane_of
from gpunode_tracker.jobs.queue_order import rank_of
from gpunode_tracker.storage import attempts, jobs
from gpunode_tracker.storage.accounts import Account, add_account
from gpunode_tracker.storage.claim_statements import ANY_AGE, SHUN_S, OlderOnly
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.tables import workers
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.tracker.parties import START_AT, job_id

ACCOUNT = "a"
LANE = lane_of(Task.LLM, None, None)
LEASE_S = 60


def queued_job(number: int, *, priority: int = 5, lane: str = LANE, **changes: Any) -> StoredJob:
    """Return a new job; those of larger numbers came later, a second each."""
    created_at = changes.pop("created_at", START_AT + number)
    fields: dict[str, Any] = {
        "id": job_id(number),
        "type": lane.partition("/")[0],
        "status": JobStatus.QUEUED,
        "priority": priority,
        "region": None,
        "model": None,
        "lane": lane,
        "rank": rank_of(priority, 1_000 * created_at),
        "params": b"sealed",
        "created_at": created_at,
        "account_id": ACCOUNT,
        "client_id": "key",
        "client_address": "192.0.2.1",
    }
    return StoredJob(**fields | changes)


async def add_jobs(connection: AsyncConnection, new: Iterable[StoredJob], account_id: str = ACCOUNT) -> None:
    """Keep jobs, and the account that they are all of."""
    await add_account(connection, Account(account_id, account_id, False), created_at=START_AT)
    for job in new:
        await jobs.add_job(connection, job)


async def add_worker(connection: AsyncConnection, worker_id: str, **changes: Any) -> None:
    """Keep a pull worker, which jobs name that it takes."""
    fields = {
        "id": worker_id,
        "name": worker_id,
        "status": "online",
        "region": "europe",
        "country": "DE",
        "city": "",
        "gpu_model": "",
        "gpu_memory_gb": 0.0,
        "memory_used_gb": 0.0,
        "supported_types": ["llm"],
        "models": [],
        "success_rate": 1.0,
        "total_jobs": 0,
        "maintenance": False,
        "registered_at": START_AT,
    }
    await connection.execute(insert(workers).values(**fields | changes))


@dataclass
class Queue:
    """A database with a queue in it; every step is a transaction of its own."""

    database: Database
    now: int = START_AT + 1_000

    async def add(self, *new: StoredJob) -> None:
        """Keep jobs of an account that is there."""
        async with self.database.write() as connection:
            for job in new:
                await jobs.add_job(connection, job)

    async def take(
        self,
        worker: str = "w1",
        lanes: Sequence[str] = (LANE,),
        *,
        shun_s: int = SHUN_S,
        tries: int = 1,
        older_only: OlderOnly = ANY_AGE,
    ) -> StoredJob | None:
        """Give a worker, or whatever else ``worker`` names with a colon, its next job."""
        holder, now = holder_of(worker), self.now
        async with self.database.write() as connection:
            return await jobs.claim_job(
                connection,
                holder,
                lanes,
                now=now,
                lease_s=LEASE_S,
                shun_s=shun_s,
                tries=tries,
                older_only=older_only,
            )

    async def take_all(self, *lanes: str) -> list[int]:
        """Give one worker all that is left of some lanes; return the jobs' numbers in the order of giving."""
        numbers = []
        while taken := await self.take(lanes=lanes or (LANE,)):
            numbers.append(int(taken.id[-12:], 16))
        return numbers

    async def lease(self, worker: str = "w1", lanes: Sequence[str] = (LANE,)) -> Lease:
        """Give a worker a job, which there must be."""
        taken = await self.take(worker, lanes)
        assert taken is not None
        return Lease(job_id=taken.id, holder=holder_of(worker), attempt=taken.attempt)

    async def complete(self, lease: Lease, result: bytes = b"result", **fields: Any) -> StoredJob | None:
        """End a job with a result."""
        async with self.database.write() as connection:
            outcome = Outcome(result=result, processing_ms=5, **fields)
            return await jobs.complete_job(connection, lease, outcome, now=self.now)

    async def fail(self, lease: Lease, reason: str = "broken", *, retryable: bool = True) -> StoredJob | None:
        """End an attempt without one."""
        async with self.database.write() as connection:
            return await jobs.fail_attempt(connection, lease, reason, now=self.now, retryable=retryable)

    async def cancel(self, number: int) -> StoredJob | None:
        """Cancel a job."""
        async with self.database.write() as connection:
            return await jobs.cancel_job(connection, job_id(number), now=self.now)

    async def renew(self, lease: Lease) -> bool:
        """Prolong a lease from now on."""
        async with self.database.write() as connection:
            return await jobs.renew_lease(connection, lease, now=self.now, lease_s=LEASE_S)

    async def find(self, number: int) -> StoredJob:
        """Return a job, which must exist."""
        async with self.database.read() as connection:
            found = await jobs.find_job(connection, job_id(number))
        assert found is not None
        return found

    async def failures(self, number: int) -> list[str]:
        """Return why its attempts failed."""
        async with self.database.read() as connection:
            return await attempts.failures_of(connection, job_id(number))

    async def expired(self) -> list[Lease]:
        """Return leases that are over."""
        async with self.database.read() as connection:
            return await jobs.expired_leases(connection, now=self.now, limit=100)


def holder_of(worker: str) -> str:
    """Return the holder's name of a worker; what has a colon is one already."""
    return worker if ":" in worker else worker_holder(worker)

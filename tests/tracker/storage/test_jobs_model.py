"""Any sequence of steps leaves the queue as a plain model of it says."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import hypothesis
import pytest
from gpunode_protocol.jobs_api import MAX_ATTEMPTS
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.jobs.job import JobStatus, Lease, dispatch_holder
from gpunode_tracker.jobs.queue_order import rank_of
from gpunode_tracker.storage import engines
from gpunode_tracker.storage.claim_statements import SHUN_S
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.jobs import add_job
from gpunode_tracker.storage.tables import job_attempts
from gpunode_tracker.storage.tables import jobs as jobs_table
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import job_id
from tests.tracker.storage.queued_jobs import LEASE_S, Queue, add_jobs, add_worker, holder_of, queued_job

T = TypeVar("T")

WORKERS = ("w1", "w2", dispatch_holder("r1"))
EXAMPLES_SHARE = 16
"""One of so many examples of the profile: each has dozens of transactions."""


@dataclass
class ModelJob:
    """What the queue should say of a job."""

    number: int
    rank: int
    status: JobStatus = JobStatus.QUEUED
    attempt: int = 0
    holder: str = ""
    lease_until: int = 0
    failures: list[str] = field(default_factory=list)
    failed_at: dict[str, int] = field(default_factory=dict)

    def is_held_by(self, lease: Lease) -> bool:
        """Whether the lease is the newest of a job that runs."""
        return self.status is JobStatus.RUNNING and (self.attempt, self.holder) == (lease.attempt, lease.holder)

    def fail(self, reason: str, now: int, *, retryable: bool) -> None:
        """End the attempt."""
        self.failures.append(reason)
        self.failed_at[self.holder] = now
        is_last = not retryable or self.attempt == MAX_ATTEMPTS
        self.status = JobStatus.FAILED if is_last else JobStatus.QUEUED


class QueueMachine(RuleBasedStateMachine):
    """Steps of clients, workers and the clock, on a database that ``run`` drives."""

    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self, database: Database, runner: asyncio.Runner) -> None:
        """Begin with an empty queue."""
        super().__init__()
        self._runner = runner
        self.queue = Queue(database)
        self.model: dict[int, ModelJob] = {}
        self.run(self._clear())

    async def _clear(self) -> None:
        async with self.queue.database.write() as connection:
            await connection.execute(delete(jobs_table))

    def run(self, action: Coroutine[Any, Any, T]) -> T:
        """Do something on the database."""
        return self._runner.run(action)

    @rule(priority=st.integers(0, 9))
    def submit(self, priority: int) -> None:
        """A client queues a job."""
        number = len(self.model) + 1
        created_at = self.queue.now
        self.model[number] = ModelJob(number, rank_of(priority, 1_000 * created_at))
        self.run(self._submit(number, priority, created_at))

    async def _submit(self, number: int, priority: int, created_at: int) -> None:
        async with self.queue.database.write() as connection:
            await add_job(connection, queued_job(number, priority=priority, created_at=created_at))

    @rule(target=leases, worker=st.sampled_from(WORKERS))
    def take(self, worker: str) -> Any:
        """A worker asks for a job, and gets the first that it may have."""
        holder, now = holder_of(worker), self.queue.now
        waiting = [job for job in self.model.values() if job.status is JobStatus.QUEUED]
        waiting = [job for job in waiting if job.failed_at.get(holder, 0) <= now - SHUN_S]
        expected = min(waiting, key=lambda job: (job.rank, job.number), default=None)
        taken = self.run(self.queue.take(worker))
        if expected is None:
            assert taken is None
            return multiple()
        assert taken is not None
        assert taken.id == job_id(expected.number)
        expected.status, expected.holder, expected.lease_until = JobStatus.RUNNING, holder, now + LEASE_S
        expected.attempt += 1
        return Lease(job_id=taken.id, holder=holder, attempt=taken.attempt)

    @rule(lease=leases)
    def complete(self, lease: Lease) -> None:
        """A holder, perhaps a former one, brings a result."""
        job = self._job(lease)
        held = job.is_held_by(lease)
        assert (self.run(self.queue.complete(lease)) is not None) == held
        if held:
            job.status = JobStatus.COMPLETED

    @rule(lease=consumes(leases), retryable=st.booleans())
    def fail(self, lease: Lease, retryable: bool) -> None:
        """A holder gives up."""
        job = self._job(lease)
        held = job.is_held_by(lease)
        reason = f"reason {len(job.failures)}"
        assert (self.run(self.queue.fail(lease, reason, retryable=retryable)) is not None) == held
        if held:
            job.fail(reason, self.queue.now, retryable=retryable)

    @rule(lease=leases)
    def renew(self, lease: Lease) -> None:
        """A holder is still at it."""
        job = self._job(lease)
        held = job.is_held_by(lease)
        assert self.run(self.queue.renew(lease)) == held
        if held:
            job.lease_until = self.queue.now + LEASE_S

    @rule(lease=leases)
    def cancel(self, lease: Lease) -> None:
        """The client loses interest in a job that somebody had taken."""
        job = self._job(lease)
        is_open = not job.status.is_final
        assert (self.run(self.queue.cancel(job.number)) is not None) == is_open
        if job.status is JobStatus.RUNNING:
            job.failures.append("cancelled")
        if is_open:
            job.status = JobStatus.CANCELLED

    @rule(seconds=st.integers(1, LEASE_S))
    def wait(self, seconds: int) -> None:
        """Time passes, and leases that are over end."""
        self.queue.now += seconds
        expired = self.run(self.queue.expired())
        over = [
            job for job in self.model.values() if job.status is JobStatus.RUNNING and job.lease_until <= self.queue.now
        ]
        assert {lease.job_id for lease in expired} == {job_id(job.number) for job in over}
        for lease in expired:
            assert self.run(self.queue.fail(lease, "silent")) is not None
            self._job(lease).fail("silent", self.queue.now, retryable=True)

    def _job(self, lease: Lease) -> ModelJob:
        return self.model[int(lease.job_id[-12:], 16)]

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Every job, and why its attempts failed."""
        found = self.run(self._read())
        assert found == {
            job_id(job.number): (
                job.status,
                job.attempt,
                job.rank,
                job.lease_until if job.status is JobStatus.RUNNING else None,
                job.failures,
            )
            for job in self.model.values()
        }

    async def _read(self) -> dict[str, tuple[str, int, int, int | None, list[str]]]:
        failed = select(job_attempts.c.job_id, job_attempts.c.failure).where(job_attempts.c.failure.is_not(None))
        columns = jobs_table.c.id, jobs_table.c.status, jobs_table.c.attempt, jobs_table.c.rank
        failures: dict[str, list[str]] = {}
        async with self.queue.database.read() as connection:
            for job, failure in await connection.execute(failed.order_by(job_attempts.c.attempt)):
                failures.setdefault(job, []).append(failure)
            rows = (await connection.execute(select(*columns, jobs_table.c.lease_expires_at))).all()
        return {row[0]: (*row[1:], failures.get(row[0], [])) for row in rows}


@ON_BOTH
def test_the_queue_does_what_the_model_does(settings: TrackerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever clients and workers do, and in whatever order."""
    monkeypatch.setattr(engines, "_PRAGMAS", (*engines._PRAGMAS, "synchronous=OFF"))  # hundreds of commits
    with asyncio.Runner() as runner:
        database = Database(settings.sqlalchemy_url)
        runner.run(_set_up(database))
        profile = hypothesis.settings()
        fewer = hypothesis.settings(
            profile, max_examples=profile.max_examples // EXAMPLES_SHARE, stateful_step_count=30
        )
        run_state_machine_as_test(lambda: QueueMachine(database, runner), settings=fewer)
        runner.run(database.close())


async def _set_up(database: Database) -> None:
    async with database.write() as connection:
        await add_jobs(connection, ())
        for worker in WORKERS[:2]:
            await add_worker(connection, worker)

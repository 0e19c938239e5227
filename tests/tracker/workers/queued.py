"""Rows of jobs for tests that need no desk."""

from collections.abc import Sequence
from typing import Any

from gpunode_tracker.jobs.job import JobStatus, StoredJob, worker_holder
from gpunode_tracker.jobs.lanes import lane_of
from gpunode_tracker.storage.accounts import Account, add_account, find_account
from gpunode_tracker.storage.jobs import add_job, claim_job
from gpunode_tracker.tracker import Tracker

from tests.tracker.parties import START_AT, job_id

OWNER = "owner"


def queued_job(number: int, **changes: Any) -> StoredJob:
    """Return a chat for anybody; jobs of larger numbers are younger."""
    fields: dict[str, Any] = {
        "id": job_id(number),
        "type": "llm",
        "status": JobStatus.QUEUED,
        "priority": 0,
        "region": None,
        "model": None,
        "rank": number,
        "params": b"",
        "created_at": START_AT,
        "account_id": OWNER,
        "client_id": "key",
        "client_address": "127.0.0.1",
    }
    fields |= changes
    fields.setdefault("lane", lane_of(fields["type"], fields["region"], fields["model"]))
    return StoredJob(**fields)


async def add_jobs(tracker: Tracker, *jobs: StoredJob) -> None:
    """Put jobs into the queue."""
    async with tracker.database.write() as connection:
        if await find_account(connection, OWNER) is None:
            await add_account(connection, Account(OWNER, OWNER, promotional=False), created_at=START_AT)
        for job in jobs:
            await add_job(connection, job)


async def claim(tracker: Tracker, worker_id: str, lanes: Sequence[str] = ("llm/*/*",), *, now: int = START_AT) -> str:
    """Let a worker take the first job of some lanes; return the job's id."""
    async with tracker.database.write() as connection:
        job = await claim_job(connection, worker_holder(worker_id), lanes, now=now, lease_s=60)
    assert job is not None
    return job.id

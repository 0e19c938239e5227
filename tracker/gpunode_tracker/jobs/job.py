"""One queued job and what can be said of it."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

WORKER_HOLDER: Final = "worker:"
DISPATCH_HOLDER: Final = "dispatch:"
NODE: Final = "node:"
"""Before the peer id of a mesh node, which does jobs that dispatch holds."""

_JOB_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class JobStatus(StrEnum):
    """Where a job is. The last three are final.

    ::

        queued ⇄ running → completed
           ↓        ↓    ↘ failed
           └→ cancelled ←┘
    """

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing can change it any more."""
        return self not in {JobStatus.QUEUED, JobStatus.RUNNING}


def is_job_id(text: str) -> bool:
    """Return whether a text can be the id of a job: what cannot, is not asked for."""
    return _JOB_ID.fullmatch(text) is not None


def worker_holder(worker_id: str) -> str:
    """Return how a pull worker is named as the holder of jobs."""
    return f"{WORKER_HOLDER}{worker_id}"


def dispatch_holder(replica_id: str) -> str:
    """Return how a tracker process that sends jobs to mesh nodes is named as their holder."""
    return f"{DISPATCH_HOLDER}{replica_id}"


@dataclass(frozen=True, kw_only=True)
class StoredJob:
    """A job as the database has it. params, result, request: sealed bytes. Instants: Unix seconds.

    attempt: number of the newest lease, 0 before the first. processing_ms: as measured by the tracker.
    """

    id: str
    type: str
    status: JobStatus
    priority: int
    region: str | None
    model: str | None
    lane: str
    rank: int
    params: bytes
    result: bytes | None = None
    error: str | None = None
    attempt: int = 0
    worker_id: str | None = None
    node: str | None = None
    lease_expires_at: int | None = None
    created_at: int
    started_at: int | None = None
    completed_at: int | None = None
    processing_ms: int | None = None
    account_id: str
    client_id: str
    client_address: str
    client_region: str | None = None
    jti: str | None = None
    request: bytes | None = None
    receipt_digest: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who holds a job: fences out everybody who held it before."""

    job_id: str
    holder: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job was completed. result: sealed. node: peer id of the mesh node that did it, if one did."""

    result: bytes
    processing_ms: int
    node: str | None = None
    receipt_digest: bytes | None = None

"""What a job's owner sees of it."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpunode_protocol.jobs_api import JobView
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode_tracker.jobs.estimates import Estimate
from gpunode_tracker.jobs.job import NODE, JobStatus, StoredJob, worker_holder
from gpunode_tracker.storage.attempts import failures_of

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker


def served_by(job: StoredJob) -> str | None:
    """Return who holds a job or ended it: ``worker:<id>`` or ``node:<peer>``; None: nobody has it, or had it last."""
    if job.worker_id is not None:
        return worker_holder(job.worker_id)
    return f"{NODE}{job.node}" if job.node is not None else None


def view_of(
    job: StoredJob,
    *,
    result: dict[str, Any] | None = None,
    failures: Sequence[str] = (),
    estimate: Estimate | None = None,
) -> JobView:
    """Return the view of a job; what is not given is left out of it."""
    return JobView(
        job_id=job.id,
        type=Task(job.type),
        status=job.status.value,
        priority=job.priority,
        region=Region(job.region) if job.region is not None else None,
        model=job.model,
        result=result,
        error=job.error,
        attempts=job.attempt,
        failures=tuple(failures),
        position=estimate.position if estimate else None,
        estimated_wait=estimate.wait_s if estimate else None,
        note=estimate.note if estimate else "",
        served_by=served_by(job),
        receipt=job.receipt_digest.hex() if job.receipt_digest is not None else None,
        created_at=job.created_at,
        started_at=job.started_at,
        completed_at=job.completed_at,
    )


async def whole_view(tracker: "Tracker", job: StoredJob) -> JobView:
    """Return all there is of a job, which was read with its result; a queued one's place and wait are as of now.

    Raises:
        KeysUnusable: the result cannot be opened.
    """
    failures: list[str] = []
    if job.attempt:
        async with tracker.database.read() as connection:
            failures = await failures_of(connection, job.id)
    result = await asyncio.to_thread(tracker.desk.result_of, job) if job.result is not None else None
    estimate = await tracker.outlook.of(job) if job.status is JobStatus.QUEUED else None
    return view_of(job, result=result, failures=failures, estimate=estimate)

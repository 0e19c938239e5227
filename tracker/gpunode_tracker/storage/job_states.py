"""Where some jobs are, in one look: for whoever follows jobs that other processes work on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.jobs.job import DISPATCH_HOLDER, NODE, JobStatus
from gpunode_tracker.storage.tables import job_attempts, jobs

PAGE_JOBS: Final = 500
"""Asked for in one statement: SQLite takes some thousand values."""


@dataclass(frozen=True)
class JobState:
    """What followers are told of. attempt, served_by: of the newest lease; 0 and None before the first.

    served_by: ``worker:<id>`` or ``node:<peer>``; None also while a node is looked for.
    """

    status: JobStatus
    attempt: int
    served_by: str | None


async def states_of(connection: AsyncConnection, job_ids: Sequence[str]) -> dict[str, JobState]:
    """Return the states of those jobs that there are, by id."""
    states: dict[str, JobState] = {}
    newest = (job_attempts.c.job_id == jobs.c.id) & (job_attempts.c.attempt == jobs.c.attempt)
    for start in range(0, len(job_ids), PAGE_JOBS):
        query = (
            select(jobs.c.id, jobs.c.status, jobs.c.attempt, jobs.c.node, job_attempts.c.holder)
            .join(job_attempts, newest, isouter=True)
            .where(jobs.c.id.in_(job_ids[start : start + PAGE_JOBS]))
        )
        for row in await connection.execute(query):
            states[row.id] = JobState(JobStatus(row.status), row.attempt, _served_by(row.node, row.holder))
    return states


def _served_by(node: str | None, holder: str | None) -> str | None:
    if node is not None:
        return f"{NODE}{node}"
    return None if holder is None or holder.startswith(DISPATCH_HOLDER) else holder

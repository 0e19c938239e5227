"""Results of jobs, which may have megabytes: their length can be asked for before they are read."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import jobs


async def result_bytes(connection: AsyncConnection, job_id: str) -> int:
    """Return how long a job's sealed result is; 0: it has none."""
    length = (await connection.execute(select(func.length(jobs.c.result)).where(jobs.c.id == job_id))).scalar()
    return int(length or 0)


async def find_result(connection: AsyncConnection, job_id: str) -> bytes | None:
    """Return a job's sealed result; None: it has none."""
    result: bytes | None = (await connection.execute(select(jobs.c.result).where(jobs.c.id == job_id))).scalar()
    return result

"""What becomes of jobs that nobody takes, and of those that ended long ago."""

import logging
from typing import TYPE_CHECKING, Final

from gpunode_tracker.jobs.desk import IDEMPOTENCY_S
from gpunode_tracker.jobs.reservations import RESERVED_S
from gpunode_tracker.storage.idempotency import forget_keys
from gpunode_tracker.storage.jobs import delete_jobs, jobs_to_delete, stale_jobs

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)

MAX_WAIT_S: Final = RESERVED_S - 3600
"""A job that waits longer has failed: what was reserved for it must last until it is done."""
WAITED_TOO_LONG: Final = f"Nobody could do the job within {MAX_WAIT_S // 3600} hours. Submit it again, or ask for less."
BATCH_JOBS: Final = 100
"""Of one transaction: others may write in between."""
BATCH_KEYS: Final = 500


async def fail_stale(tracker: "Tracker") -> int:
    """Let jobs fail that have waited too long; return how many."""
    failed = 0
    while True:
        async with tracker.database.read() as connection:
            ids = await stale_jobs(connection, created_before=tracker.now - MAX_WAIT_S, limit=BATCH_JOBS)
        ended = [await tracker.desk.give_up(job_id, WAITED_TOO_LONG) for job_id in ids]
        failed += sum(job is not None for job in ended)
        if len(ids) < BATCH_JOBS:
            return failed


async def delete_old(tracker: "Tracker") -> int:
    """Delete jobs that ended long ago, and idempotency keys that name nothing any more; return how many jobs."""
    deleted = 0
    while True:
        async with tracker.database.write() as connection:
            ids = await jobs_to_delete(
                connection, completed_before=tracker.now - tracker.settings.job_retention_s, limit=BATCH_JOBS
            )
            if ids:
                await delete_jobs(connection, ids)
        deleted += len(ids)
        if len(ids) < BATCH_JOBS:
            break
    forgotten = BATCH_KEYS
    while forgotten == BATCH_KEYS:
        async with tracker.database.write() as connection:
            forgotten = await forget_keys(connection, created_before=tracker.now - IDEMPOTENCY_S, limit=BATCH_KEYS)
    if deleted:
        logger.info("%d old jobs were deleted", deleted, extra={"event": "jobs_deleted"})
    return deleted

"""Jobs that the tracker gave to a worker, which has not got them: their answer was lost, or its process ended since.

The tracker cannot see that. What was sent whole may lie in a proxy, or in the memory of a machine whose program is
gone, and a connection that is closed may as well belong to a worker that has read it. So the worker says it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gpunode_tracker.jobs.job import Lease, worker_holder
from gpunode_tracker.storage.attempts import held_by
from gpunode_tracker.workers.presence import LiveWorker

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

NOT_HELD: Final = "The worker has not got the job: its answer was lost on the way, or the worker was started anew."


async def give_to_others(tracker: "Tracker", worker: LiveWorker, holding: Mapping[str, int]) -> int:
    """Give others what a worker holds by the database and not by its own word; return how many jobs.

    The attempts count, and count against the worker: nobody knows what it did with the jobs before.

    Args:
        tracker: whose jobs they are.
        worker: says that no call of its own for a job is under way; polls of it that still wait here end.
        holding: all attempts that it has, by job.

    Raises:
        StorageUnavailable: what is left is taken from it by its leases.
    """
    worker.polls_left += 1  # before the database is asked: whatever is claimed later is not sent
    async with tracker.database.read() as connection:
        held = await held_by(connection, worker_holder(worker.id))
    count = 0
    for job_id, attempt in held.items():
        if holding.get(job_id) != attempt:
            lease = Lease(job_id=job_id, holder=worker_holder(worker.id), attempt=attempt)
            count += await tracker.workers.outcomes.fail(lease, NOT_HELD) is not None
    return count

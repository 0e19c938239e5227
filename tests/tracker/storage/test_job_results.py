"""Results of jobs, and how long they are."""

from gpunode_tracker.storage.job_results import find_result, result_bytes

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import job_id
from tests.tracker.storage.queued_jobs import Queue, queued_job

pytestmark = ON_BOTH


async def test_length_and_result(queue: Queue) -> None:
    """In bytes; nothing of a job that has none, or that is not there."""
    await queue.add(queued_job(1), queued_job(2))
    await queue.complete(await queue.lease(), result=b"\x00\xff\x00")
    async with queue.database.read() as connection:
        assert [await result_bytes(connection, job_id(number)) for number in (1, 2, 3)] == [3, 0, 0]
        assert [await find_result(connection, job_id(number)) for number in (1, 2, 3)] == [b"\x00\xff\x00", None, None]

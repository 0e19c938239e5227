from gpunode_benchmarks.tracker.effort import Effort
from gpunode_benchmarks.tracker.submissions import measure_submissions
from gpunode_tracker.storage.jobs import queued_by_lane

from tests.benchmarks.tracker.conftest import Served


async def test_what_is_counted_waits_in_the_queue(served: Served, small: Effort) -> None:
    """Each line submits one job at least."""
    seen = await measure_submissions(served.server.address, served.filled.api_key, lines=2, duration_s=0.0)
    assert len(seen.took_ms) == 2
    assert seen.per_s > 0
    keyed = (small.keyed_takers + 1) * small.takes
    async with served.tracker.database.read() as connection:
        assert sum((await queued_by_lane(connection)).values()) == small.queued_jobs + keyed + 2

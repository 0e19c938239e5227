from gpunode_benchmarks.tracker.heartbeats import measure_heartbeats

from tests.benchmarks.tracker.conftest import Served


async def test_each_worker_is_heard_once(served: Served) -> None:
    """At the rate that was asked for."""
    workers = served.filled.workers
    seen = await measure_heartbeats(served.server, workers, per_s=200.0, duration_s=len(workers) / 200)
    assert len(seen.took_ms) == len(workers)
    assert 0 < seen.per_s <= 200
    assert seen.core_share >= 0
    assert [worker.is_heard_here for worker in served.tracker.workers.presence] == [True] * len(workers)

from gpunode_benchmarks.tracker.effort import USUAL
from gpunode_tracker.workers.live_sync import READ_INTERVAL_S


def test_the_rate_is_that_of_all_workers() -> None:
    """10,000 workers, each once a minute."""
    assert round(USUAL.heartbeats_per_s, 1) == 166.7


def test_one_reading_of_all_workers_falls_into_the_heartbeats() -> None:
    """So that its cost is counted, once."""
    assert USUAL.heartbeat_s == READ_INTERVAL_S


def test_workers_who_take_jobs_send_no_heartbeats() -> None:
    """Those of idle workers are counted."""
    assert USUAL.heartbeats_per_s * USUAL.heartbeat_s <= USUAL.workers - USUAL.takers

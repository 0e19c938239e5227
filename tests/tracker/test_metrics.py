"""Counters."""

from gpunode_tracker.metrics import Metrics


def test_each_tracker_counts_for_itself() -> None:
    """Two trackers in one process do not share counters."""
    first, second = Metrics(), Metrics()
    first.grants.inc()
    assert b"gpunode_tracker_grants_total 1.0" in first.render()
    assert b"gpunode_tracker_grants_total 0.0" in second.render()

"""Counters."""

from gpunode_tracker.metrics import Metrics


def test_each_tracker_counts_for_itself() -> None:
    """Two trackers in one process do not share counters."""
    first, second = Metrics(), Metrics()
    first.grants.inc()
    assert b"gpunode_tracker_grants_total 1.0" in first.render()
    assert b"gpunode_tracker_grants_total 0.0" in second.render()


def test_requests_are_counted_by_route_and_status() -> None:
    """As Prometheus' own counters would show them."""
    metrics = Metrics()
    for status in (200, 200, 404):
        metrics.count_request("/api/v1/{x}", status)
    shown = metrics.render()
    assert b"# TYPE gpunode_tracker_http_requests_total counter" in shown
    assert b'gpunode_tracker_http_requests_total{path="/api/v1/{x}",status="200"} 2.0' in shown
    assert b'gpunode_tracker_http_requests_total{path="/api/v1/{x}",status="404"} 1.0' in shown

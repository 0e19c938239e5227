"""The values of a worker's row."""

from gpunode_tracker.workers.worker import WorkerStatus


def test_statuses_are_the_plans() -> None:
    """Three, in its words."""
    assert list(WorkerStatus) == ["online", "busy", "offline"]

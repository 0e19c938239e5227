"""The original plan's formula."""

import pytest
from gpunode_tracker.workers.weight import weight_of
from gpunode_tracker.workers.worker import WorkerStatus


@pytest.mark.parametrize(
    ("memory_gb", "success_rate", "status", "expected"),
    [
        (0, 1.0, WorkerStatus.ONLINE, 100),
        (11.9, 1.0, WorkerStatus.ONLINE, 100),
        (12, 1.0, WorkerStatus.ONLINE, 120),
        (23.9, 1.0, WorkerStatus.ONLINE, 120),
        (24, 1.0, WorkerStatus.ONLINE, 150),
        (80, 0.5, WorkerStatus.ONLINE, 75),
        (24, 1.0, WorkerStatus.BUSY, 15),
        (12, 0.5, WorkerStatus.BUSY, 6),
        (24, 0.0, WorkerStatus.ONLINE, 0),
    ],
)
def test_the_formula(memory_gb: float, success_rate: float, status: WorkerStatus, expected: float) -> None:
    """100, and 50 from 24 GB or 20 from 12 GB, times the success rate, times 0.1 when busy."""
    assert weight_of(memory_gb, success_rate, status) == pytest.approx(expected)

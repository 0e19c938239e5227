"""The queue of an in-process tracker."""

import pytest
from gpunode_tracker.tracker import Tracker

from tests.tracker.jobs.queue_parties import Queue


@pytest.fixture
def queue(tracker: Tracker) -> Queue:
    """The queue."""
    return Queue(tracker)

"""Settings for the pull worker's tests."""

import pytest
from gpunode_node.pull import courier


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again soon: the tests' tracker is on loopback, and time is real here."""
    monkeypatch.setattr(courier, "BACKOFF_S", 0.01)

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpunode.doctor.tracker_facts import TrackerFacts
from gpunode_protocol.diagnosis import Subject

from tests.sdk.doctor.tracker_server import TrackerServer, running_tracker


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own settings take no part."""
    monkeypatch.chdir(tmp_path)
    for name in ("GPUNODE_TRACKER", "GPUNODE_BOOTSTRAP", "GPUNODE_API_KEY", "GPUNODE_STATE_DIR", "GPUNODE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tracker() -> Iterator[TrackerServer]:
    """Return a tracker on loopback."""
    with running_tracker() as running:
        yield running


@pytest.fixture
def facts(tracker: TrackerServer, tmp_path: Path) -> TrackerFacts:
    """Return facts of that tracker and an empty state folder."""
    return TrackerFacts(Subject(tracker=tracker.url, state_dir=tmp_path / "state"))


@pytest.fixture
def silent_facts(tmp_path: Path) -> TrackerFacts:
    """Return facts of a tracker that is down."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    return TrackerFacts(Subject(tracker=url, state_dir=tmp_path / "state"))


@pytest.fixture
def no_facts(tmp_path: Path) -> TrackerFacts:
    """Return facts where no tracker is set."""
    return TrackerFacts(Subject(state_dir=tmp_path / "state"))

"""Opening and closing a tracker."""

from pathlib import Path

import pytest
from gpunode_protocol.mesh.errors import IdentityFileError
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.tracker import Tracker

from tests.tracker.parties import TestClock


async def test_the_first_start_needs_nothing(tmp_path: Path) -> None:
    """An absent folder becomes a network with prices, an empty ledger and a signed head."""
    settings = TrackerSettings.load({"data_dir": tmp_path / "a" / "b", "mesh": False})
    tracker = await Tracker.open(settings, TestClock())
    info = tracker.network_info()
    assert tracker.sequencer.head is not None
    await tracker.close()
    assert (len(info.network), info.bootstrap) == (40, ())


async def test_the_network_stays_the_same(settings: TrackerSettings) -> None:
    """Network, log and prices survive a restart."""
    infos = []
    for _ in range(2):
        tracker = await Tracker.open(settings, TestClock())
        infos.append(tracker.network_info())
        await tracker.close()
    assert infos[0] == infos[1]


async def test_a_readable_root_key_is_refused(settings: TrackerSettings) -> None:
    """A key that others may read is an error that says what to do."""
    (settings.data_dir / "root.key").chmod(0o644)
    with pytest.raises(IdentityFileError, match="chmod 600"):
        await Tracker.open(settings, TestClock())

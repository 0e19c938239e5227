"""Key files that all trackers of a network have the same."""

import shutil
from pathlib import Path

import pytest
from gpunode_protocol.keyfile import load_or_create_identity
from gpunode_tracker.administration import administration
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.sealing import Sealer
from gpunode_tracker.storage.audit import AuditFilter, newest_records
from gpunode_tracker.storage.tables import meta
from gpunode_tracker.tracker import Tracker

from tests.tracker.parties import TestClock

FILES = ("dispatch.key", "sealing_keys.json")


def _make(path: Path) -> None:
    """Make a key file as the first start does."""
    if path.name == "dispatch.key":
        load_or_create_identity(path)
    else:
        Sealer.from_file(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("other", [False, True], ids=["missing", "another"])
async def test_a_replica_without_the_others_file(
    settings: TrackerSettings, clock: TestClock, name: str, other: bool
) -> None:
    """It does not start, says what to copy, and makes nothing."""
    path = settings.data_dir / name
    path.unlink()
    if other:
        _make(path)
    with pytest.raises(KeysUnusable, match=f"{name} is missing, or is not the one .* Copy it"):
        await Tracker.open(settings, clock)
    assert path.exists() is other


async def test_a_replica_that_was_away_during_a_rotation(
    settings: TrackerSettings, clock: TestClock, tmp_path: Path
) -> None:
    """It starts if the key had been prepared, else not: it could not read what the others seal."""
    path, copy = settings.data_dir / "sealing_keys.json", tmp_path / "copy.json"
    async with administration(settings, clock) as admin:
        await admin.sealing.prepare()
        shutil.copy(path, copy)
        await admin.sealing.rotate()
        shutil.copy(copy, path)
        await (await Tracker.open(settings, clock)).close()
        for _ in range(2):  # to the key that was prepared, and on to one that was not
            await admin.sealing.rotate()
    shutil.copy(copy, path)
    with pytest.raises(KeysUnusable, match="not the one"):
        await Tracker.open(settings, clock)


async def test_keys_that_are_lost_everywhere(settings: TrackerSettings, clock: TestClock) -> None:
    """The operator lets new ones count; the audit log names them."""
    for name in FILES:
        (settings.data_dir / name).unlink()
    async with administration(settings, clock) as admin:
        dispatch, sealer = await admin.adopt_keys()
    tracker = await Tracker.open(settings, clock)
    assert (tracker.dispatch.peer_id, tracker.sealer.keys) == (dispatch.peer_id, sealer.keys)
    async with tracker.database.read() as connection:
        (record,) = await newest_records(connection, AuditFilter(), before_id=2**62, limit=10)
    await tracker.close()
    assert record.action == "keys_adopted"
    assert record.detail == {"dispatch_key": dispatch.peer_id, "sealing_key": sealer.keys[0].id.hex()}


async def test_a_database_from_before(settings: TrackerSettings, clock: TestClock) -> None:
    """That does not say which keys count: those of the tracker that starts first do."""
    tracker = await Tracker.open(settings, clock)
    async with tracker.database.write() as connection:
        await connection.execute(meta.delete().where(meta.c.key.in_(["dispatch_public_key", "sealing_key_id"])))
    await tracker.close()
    await (await Tracker.open(settings, clock)).close()
    (settings.data_dir / "dispatch.key").unlink()
    with pytest.raises(KeysUnusable):
        await Tracker.open(settings, clock)

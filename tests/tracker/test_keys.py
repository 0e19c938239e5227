"""Root key, signing keys and their rotation."""

import stat
from pathlib import Path

import pytest
from gpunode_protocol.errors import Untrusted
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyfile import load_or_create_identity
from gpunode_protocol.keyset import KEY_LEAD_TIME_S
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.keys import ROOT_KEY_FILE, key_in_use, open_keys, read_keys, rotate
from gpunode_tracker.tracker import Tracker, open_database

from tests.tracker.parties import START_AT, TestClock


async def test_the_first_start_makes_the_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Both private keys are readable by their owner only, and the operator is told to move the root key."""
    settings = TrackerSettings.load({"data_dir": tmp_path / "new", "mesh": False})
    database = await open_database(settings)
    keys = await open_keys(database, settings.data_dir, now=START_AT)
    await database.close()
    kid, signer = keys.signer(START_AT)
    for path in (settings.data_dir / ROOT_KEY_FILE, settings.data_dir / "signing-keys" / f"{kid}.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.keyset.body.keys[0].public_key == signer.public_key
    assert "offline" in caplog.text
    assert stat.S_IMODE(settings.sqlite_path.stat().st_mode) == 0o600


async def test_a_rotation_takes_over_two_hours_later(tracker: Tracker) -> None:
    """Until then the old key signs; afterwards it stays listed."""
    data_dir = tracker.settings.data_dir
    before = tracker.keys.signer(START_AT)[0]
    keyset = await rotate(tracker.database, data_dir, now=START_AT)
    keys = await read_keys(tracker.database, data_dir)
    switch_at = START_AT + KEY_LEAD_TIME_S
    assert keys.signer(switch_at - 1)[0] == before
    after = keys.signer(switch_at)[0]
    assert after != before
    assert [key.kid for key in keyset.keys] == [before, after]
    assert keys.trust.key(before, START_AT).retired_at == switch_at
    with pytest.raises(KeysUnusable, match="published already"):
        await rotate(tracker.database, data_dir, now=START_AT + 1)


async def test_a_rotation_at_once(tracker: Tracker) -> None:
    """After a theft the new key signs immediately."""
    before = tracker.keys.signer(START_AT)[0]
    await rotate(tracker.database, tracker.settings.data_dir, now=START_AT, lead_time_s=0)
    keys = await read_keys(tracker.database, tracker.settings.data_dir)
    assert keys.signer(START_AT)[0] != before


async def test_a_rotation_at_once_while_another_is_to_come(tracker: Tracker) -> None:
    """The theft does not wait: neither of the older keys signs from then on, and the next rotation is a usual one."""
    data_dir = tracker.settings.data_dir
    planned = (await rotate(tracker.database, data_dir, now=START_AT)).keys[-1].kid
    newest = (await rotate(tracker.database, data_dir, now=START_AT + 60, lead_time_s=0)).keys[-1].kid
    keys = await read_keys(tracker.database, data_dir)
    switch_at = START_AT + KEY_LEAD_TIME_S
    assert {keys.signer(at)[0] for at in (START_AT + 60, switch_at, switch_at + 60)} == {newest}
    with pytest.raises(Untrusted, match="not in use"):
        keys.trust.key(planned, switch_at)
    keyset = await rotate(tracker.database, data_dir, now=START_AT + 120)
    assert key_in_use(keyset, START_AT + 120).kid == newest
    assert key_in_use(keyset, START_AT + 120 + KEY_LEAD_TIME_S).kid == keyset.keys[-1].kid


async def test_it_runs_without_the_root_key(settings: TrackerSettings, tmp_path: Path) -> None:
    """The root key may be offline; a rotation brings it by its path."""
    offline = tmp_path / "safe.key"
    (settings.data_dir / ROOT_KEY_FILE).rename(offline)
    tracker = await Tracker.open(settings, TestClock())
    with pytest.raises(KeysUnusable, match="--root-key"):
        await rotate(tracker.database, settings.data_dir, now=START_AT)
    keyset = await rotate(tracker.database, settings.data_dir, root_key=offline, now=START_AT)
    await tracker.close()
    assert keyset.sequence == 2


async def test_a_foreign_root_key_is_refused(settings: TrackerSettings, tmp_path: Path) -> None:
    """Neither at start nor for a rotation does another network's root key serve."""
    other = tmp_path / "other.key"
    load_or_create_identity(other)
    tracker = await Tracker.open(settings, TestClock())
    with pytest.raises(KeysUnusable, match="another network"):
        await rotate(tracker.database, settings.data_dir, root_key=other, now=START_AT)
    await tracker.close()
    other.replace(settings.data_dir / ROOT_KEY_FILE)
    with pytest.raises(KeysUnusable, match="another network"):
        await Tracker.open(settings, TestClock())


async def test_a_missing_signing_key_is_named(settings: TrackerSettings) -> None:
    """The message says which file is missing and how to go on."""
    (file,) = (settings.data_dir / "signing-keys").glob("*.key")
    file.unlink()
    with pytest.raises(KeysUnusable, match=f"{file.stem}.*rotate-key --now"):
        await Tracker.open(settings, TestClock(START_AT + 60))


async def test_no_key_before_its_time(tracker: Tracker) -> None:
    """A clock that is years behind finds no key in use."""
    with pytest.raises(KeysUnusable, match="clock"):
        key_in_use(tracker.keys.keyset.body, START_AT - 10)
    assert tracker.keys.trust.root_public_key != Identity.generate().public_key

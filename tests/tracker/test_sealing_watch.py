"""Noticing that the keys changed."""

from pathlib import Path

import pytest
from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.sealing import Sealer, key_id_of
from gpunode_tracker.sealing_key_file import new_key, read_key_file, write_key_file
from gpunode_tracker.sealing_watch import SealingWatch


def test_a_rotation_is_noticed_once(tmp_path: Path) -> None:
    """Whoever has the sealer seals with the new key then."""
    path = tmp_path / "keys.json"
    sealer = Sealer.from_file(path)
    watch, before = SealingWatch(path), sealer.keys
    watch.refresh(sealer)
    assert sealer.keys is before
    write_key_file(path, read_key_file(path).rotated(new_key(), now=1))
    watch.refresh(sealer)
    assert sealer.keys[1:] == before
    assert key_id_of(sealer.seal(b"", "x")) == sealer.keys[0].id
    after = sealer.keys
    watch.refresh(sealer)
    assert sealer.keys is after


def test_a_damaged_file_leaves_the_keys_that_there_are(tmp_path: Path) -> None:
    """It is reported until it is repaired."""
    path = tmp_path / "keys.json"
    sealer = Sealer.from_file(path)
    watch, before, text = SealingWatch(path), sealer.keys, path.read_text()
    path.write_text("{")
    for _ in range(2):
        with pytest.raises(KeysUnusable):
            watch.refresh(sealer)
    assert sealer.keys == before
    path.write_text(text)
    watch.refresh(sealer)
    assert sealer.keys == before


def test_a_file_that_went_is_not_made_anew(tmp_path: Path) -> None:
    """Else values would be sealed with a key that nobody expects; the next start refuses or makes one."""
    path = tmp_path / "keys.json"
    sealer = Sealer.from_file(path)
    watch, before = SealingWatch(path), sealer.keys
    path.unlink()
    watch.refresh(sealer)
    assert sealer.keys == before
    assert not path.exists()

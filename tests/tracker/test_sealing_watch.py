"""Noticing that the keys changed."""

from pathlib import Path

import pytest
from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.sealing import Sealer
from gpunode_tracker.sealing_key_file import new_key, read_key_file, write_key_file
from gpunode_tracker.sealing_watch import SealingWatch


def test_a_rotation_is_noticed_once(tmp_path: Path) -> None:
    """While the file is the same, so is the sealer."""
    path = tmp_path / "keys.json"
    sealer = Sealer.from_file(path)
    watch = SealingWatch(path)
    assert watch.refreshed(sealer) is sealer
    write_key_file(path, read_key_file(path).rotated(new_key(), now=1))
    fresh = watch.refreshed(sealer)
    assert fresh.keys[1:] == sealer.keys
    assert watch.refreshed(fresh) is fresh


def test_a_damaged_file_leaves_the_keys_that_there_are(tmp_path: Path) -> None:
    """It is reported until it is repaired."""
    path = tmp_path / "keys.json"
    sealer = Sealer.from_file(path)
    watch, text = SealingWatch(path), path.read_text()
    path.write_text("{")
    for _ in range(2):
        with pytest.raises(KeysUnusable):
            watch.refreshed(sealer)
    path.write_text(text)
    assert watch.refreshed(sealer).keys == sealer.keys


def test_a_file_that_went_is_not_made_anew(tmp_path: Path) -> None:
    """Else values would be sealed with a key that nobody expects; the next start refuses or makes one."""
    path = tmp_path / "keys.json"
    sealer = Sealer.from_file(path)
    watch = SealingWatch(path)
    path.unlink()
    assert watch.refreshed(sealer) is sealer
    assert not path.exists()

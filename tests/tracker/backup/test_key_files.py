"""Key files of a data folder."""

import os
import stat
from pathlib import Path

import pytest
from gpunode_tracker.backup.key_files import has_root_key, is_key_file, read_key_files, write_key_file
from gpunode_tracker.errors import KeysUnusable


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder with keys and other files."""
    path = tmp_path / "data"
    (path / "signing-keys").mkdir(parents=True)
    for name in ("root.key", "mesh.key", "dispatch.key", "sealing_keys.json", "tracker.db", "signing-keys/a1.key"):
        (path / name).write_text(name)
    return path


def test_keys_and_nothing_else(data_dir: Path) -> None:
    """The root key only when it is asked for."""
    names = {"keys/sealing_keys.json", "keys/dispatch.key", "keys/mesh.key", "keys/signing-keys/a1.key"}
    files = read_key_files(data_dir, with_root_key=False)
    assert set(files) == names
    assert not has_root_key(files)
    assert files["keys/mesh.key"] == b"mesh.key"
    assert has_root_key(read_key_files(data_dir, with_root_key=True))


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    """A tracker without mesh has no key of it."""
    assert read_key_files(tmp_path, with_root_key=True) == {}


def test_written_for_the_owner_only_and_never_over_another(tmp_path: Path) -> None:
    """Also in a folder that has to be made."""
    path = write_key_file(tmp_path, "keys/signing-keys/a1.key", b"key")
    assert path == tmp_path / "signing-keys" / "a1.key"
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"key", 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(FileExistsError):
        write_key_file(tmp_path, "keys/signing-keys/a1.key", b"other")


def test_members() -> None:
    """By their folder."""
    assert is_key_file("keys/mesh.key")
    assert not is_key_file("tables/jobs.msgpack")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_key_that_cannot_be_read(data_dir: Path) -> None:
    """A backup without it would not restore."""
    (data_dir / "mesh.key").chmod(0)
    with pytest.raises(KeysUnusable):
        read_key_files(data_dir, with_root_key=False)

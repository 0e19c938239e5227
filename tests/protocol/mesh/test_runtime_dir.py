import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpunode_protocol.mesh.errors import MeshError
from gpunode_protocol.mesh.runtime_dir import MAX_SOCKET_PATH_BYTES, RuntimeDir, default_parents


def test_directory_is_private_and_short() -> None:
    """Nobody else can connect to the sockets, and their paths fit."""
    parents = default_parents(None)
    directory = RuntimeDir.create(parents)
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    assert len(os.fsencode(directory.path / "d999.sock")) <= MAX_SOCKET_PATH_BYTES
    directory.remove()
    assert not directory.path.exists()


def test_parent_with_a_long_path_is_passed_over(tmp_path: Path) -> None:
    """A deep state directory does not stop the mesh: the next candidate is used."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    directory = RuntimeDir.create([deep, *default_parents(None)])
    assert directory.path.parent != deep
    directory.remove()


def test_no_usable_parent_is_an_error(tmp_path: Path) -> None:
    """The error names what was tried."""
    with pytest.raises(MeshError, match="nowhere"):
        RuntimeDir.create([tmp_path / "nowhere"])


@pytest.fixture
def short_parent() -> Iterator[Path]:
    """A parent of the test's own with a short path."""
    directory = RuntimeDir.create(default_parents(None))
    yield directory.path
    directory.remove()


def test_left_over_of_a_dead_process_is_removed(short_parent: Path) -> None:
    """What a killed process left is cleared away by the next one."""
    left_over = short_parent / "gpn-dead"
    left_over.mkdir()
    (left_over / "lock").touch()
    (left_over / "d0.sock").touch()
    RuntimeDir.create([short_parent]).remove()
    assert not left_over.exists()


def test_directory_in_use_is_left_alone(short_parent: Path) -> None:
    """Two processes with one state directory do not take each other's sockets away."""
    first = RuntimeDir.create([short_parent])
    second = RuntimeDir.create([short_parent])
    assert first.path.exists()
    second.remove()
    first.remove()


def test_foreign_directory_is_left_alone(short_parent: Path) -> None:
    """A directory without a lock is not ours."""
    foreign = short_parent / "gpn-foreign"
    foreign.mkdir()
    RuntimeDir.create([short_parent]).remove()
    assert foreign.exists()


def test_deleted_directory_is_made_again_elsewhere(short_parent: Path) -> None:
    """It went away with the folder that it lay in; what is still there stays."""
    folder = short_parent / "f"
    folder.mkdir()
    directory = RuntimeDir.create([folder, short_parent])
    assert directory.restore() == directory.path
    assert directory.path.parent == folder
    shutil.rmtree(folder)
    assert directory.restore() == directory.path
    assert directory.path.parent == short_parent
    directory.remove()
    assert not directory.path.exists()

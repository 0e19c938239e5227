"""The data directory."""

import json
import os
from pathlib import Path

import pytest
from gpunode_node.errors import NodeFolderInUse, StateUnwritable
from gpunode_node.node_folder import MAX_SOCKET_PATH_BYTES, NodeFolder


def test_one_daemon_a_folder(tmp_path: Path) -> None:
    """A second one is refused until the first has given the folder back."""
    first, second = NodeFolder(tmp_path / "n"), NodeFolder(tmp_path / "n")
    first.take()
    assert first.path.stat().st_mode & 0o777 == 0o700
    with pytest.raises(NodeFolderInUse, match="--data-dir"):
        second.take()
    first.give_back()
    second.take()
    second.give_back()
    second.give_back()


def test_run_file(tmp_path: Path) -> None:
    """It says who is ready, is removed at the end, and one of a killed daemon is removed at the start."""
    folder = NodeFolder(tmp_path)
    folder.take()
    folder.mark_ready({"region": "asia"})
    assert json.loads(folder.run.read_text()) == {"pid": os.getpid(), "region": "asia"}
    folder.give_back()
    assert not folder.run.exists()
    folder.run.write_text("{}")
    folder.take()
    assert not folder.run.exists()
    folder.give_back()


@pytest.mark.parametrize("loss", ["deleted", "replaced", "file"])
def test_a_folder_that_is_lost(tmp_path: Path, loss: str) -> None:
    """Who has taken it notices, and does not touch what another daemon wrote in its place."""
    folder, other = NodeFolder(tmp_path / "n"), NodeFolder(tmp_path / "n")
    assert not folder.is_lost()
    folder.take()
    assert not folder.is_lost()
    folder.path.rename(tmp_path / "moved")
    if loss == "file":
        folder.path.write_text("")
    elif loss == "replaced":
        other.take()
        other.mark_ready({})
    assert folder.is_lost()
    folder.give_back()
    assert not folder.is_lost()
    assert other.run.exists() is (loss == "replaced")
    if loss == "replaced":
        other.give_back()


def test_a_path_too_long_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control socket goes to the runtime folder then, under a name of this folder's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    deep = [NodeFolder(tmp_path / ("d" * 100) / name).control for name in ("a", "b")]
    assert all(len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES for path in deep)
    assert deep[0] != deep[1]
    assert deep[0].parent == Path("/run/user/7")
    assert NodeFolder(Path("/x")).control == Path("/x/control.sock")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The message says what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnwritable, match="--data-dir"):
        NodeFolder(tmp_path / "file" / "n").take()

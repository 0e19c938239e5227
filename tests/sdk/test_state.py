import stat
from pathlib import Path

import pytest
from gpunode._state import StateDir, default_state_dir, read_json, write_json
from gpunode.errors import InvalidSettings


def test_the_folder_is_private(tmp_path: Path) -> None:
    """It holds a key and grants; everything below it as well."""
    state = StateDir(tmp_path / "a" / "b")
    state.prepare()
    state.prepare()
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert state.mesh_dir.is_dir()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InvalidSettings, match="GPUNODE_STATE_DIR"):
        StateDir(tmp_path / "file" / "x").prepare()


def test_files_are_private_and_whole(tmp_path: Path) -> None:
    """Mode 0600, replaced at once, no draft left."""
    path = tmp_path / "folder" / "grants.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["grants.json"]


def test_missing_and_damaged_files_count_as_absent(tmp_path: Path) -> None:
    """The network can be learnt anew."""
    assert read_json(tmp_path / "none") is None
    (tmp_path / "bad").write_bytes(b"\xff{")
    assert read_json(tmp_path / "bad") is None
    (tmp_path / "deep").write_text("[" * 100_000)
    assert read_json(tmp_path / "deep") is None


def test_pins_by_network(tmp_path: Path) -> None:
    """Every tracker has its own folder; grants of different keys have different files."""
    state = StateDir(tmp_path)
    first, second = state.tracker("https://a.example"), state.tracker("https://b.example")
    first.pin(b"\x01" * 32)
    second.pin(b"\x02" * 32)
    assert sorted(state.pinned_roots().values()) == [b"\x01" * 32, b"\x02" * 32]
    assert first.grants_path("k1") != first.grants_path("k2")
    assert "k1" not in first.grants_path("k1").name


def test_the_default_is_the_platforms_folder() -> None:
    """Below the user's state folder (moved into the test's own by conftest)."""
    assert default_state_dir().parts[-2:] == ("gpunode", "client")

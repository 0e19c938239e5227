from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_protocol.diagnosis import Finding
from gpunode_protocol.folder_check import GIB, MIB, FolderState, judge_folder, look_at_folder

ROOMY = FolderState(path=Path("/data/models"), exists=True, at=Path("/data/models"), writable=True, free_bytes=10 * GIB)


def _judged(state: FolderState) -> Finding:
    return judge_folder(state, needed_bytes=GIB, needed_for="a model", move_with="GPUNODE_MODELS_DIR")


def test_a_folder_with_room() -> None:
    """The free space is told; so is that the folder will be made."""
    assert (_judged(ROOMY).status, _judged(ROOMY).message) == ("ok", "10.0 GiB free at /data/models.")
    assert "the first start makes" in _judged(replace(ROOMY, exists=False)).message


@pytest.mark.parametrize(("free_bytes", "status"), [(0, "failure"), (MIB - 1, "failure"), (MIB, "warning")])
def test_a_disk_that_takes_nothing(free_bytes: int, status: str) -> None:
    """Nothing can be kept there; little room is told in MiB, not as 0.0 GiB."""
    finding = judge_folder(
        replace(ROOMY, free_bytes=free_bytes), needed_bytes=16 * MIB, needed_for="a key", move_with="--state-dir"
    )
    assert finding.status == status
    assert finding.message == f"{free_bytes // MIB} MiB free at /data/models; a key takes 16 MiB."


def test_a_disk_with_little_room() -> None:
    """It is told how much is needed for what, and what to do."""
    finding = _judged(replace(ROOMY, free_bytes=GIB // 2))
    assert finding.status == "warning"
    assert finding.message == "0.5 GiB free at /data/models; a model takes 1.0 GiB."
    assert "GPUNODE_MODELS_DIR" in finding.fix


def test_a_folder_that_cannot_be_written_to() -> None:
    """Nothing works with it."""
    assert _judged(replace(ROOMY, writable=False)).status == "failure"


def test_a_folder_that_cannot_be_made() -> None:
    """Root may write to /proc by its permissions, and yet nothing can be made there."""
    state = look_at_folder(Path("/proc/nope"))
    assert (state.at, state.writable) == (Path("/proc"), False)
    assert _judged(state).status == "failure"


def test_looking_leaves_nothing(tmp_path: Path) -> None:
    """A folder that is not there yet is judged by the nearest one above it."""
    state = look_at_folder(tmp_path / "a" / "b")
    assert (state.exists, state.at, state.writable) == (False, tmp_path, True)
    assert state.free_bytes > 0
    assert list(tmp_path.iterdir()) == []
    assert look_at_folder(tmp_path).exists


def test_a_file_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder can be made below it."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "models"):
        finding = _judged(look_at_folder(path))
        assert (finding.status, finding.message) == ("failure", f"{tmp_path / 'file'} is no folder.")
    monkeypatch.chdir(tmp_path)
    assert look_at_folder(Path("models")).path == tmp_path / "models"

from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.folder_check import GIB, FolderState, judge_folder, look_at_folder
from gpunode_protocol.diagnosis import Finding

ROOMY = FolderState(path=Path("/data/models"), exists=True, at=Path("/data/models"), writable=True, free_bytes=10 * GIB)


def _judged(state: FolderState) -> Finding:
    return judge_folder(state, needed_bytes=GIB, needed_for="a model", move_with="GPUNODE_MODELS_DIR")


def test_a_folder_with_room() -> None:
    """The free space is told; so is that the folder will be made."""
    assert (_judged(ROOMY).status, _judged(ROOMY).message) == ("ok", "10.0 GiB free at /data/models.")
    assert "the first start makes" in _judged(replace(ROOMY, exists=False)).message


def test_a_full_disk() -> None:
    """It is told how much is needed for what, and what to do."""
    finding = _judged(replace(ROOMY, free_bytes=GIB // 2))
    assert finding.status == "warning"
    assert finding.message == "0.5 GiB free at /data/models; a model takes 1.0 GiB."
    assert "GPUNODE_MODELS_DIR" in finding.fix


def test_a_folder_that_cannot_be_written_to() -> None:
    """Nothing works with it."""
    assert _judged(replace(ROOMY, writable=False)).status == "failure"


def test_looking_makes_nothing(tmp_path: Path) -> None:
    """A folder that is not there yet is judged by the nearest one above it."""
    state = look_at_folder(tmp_path / "a" / "b")
    assert (state.exists, state.at, state.writable) == (False, tmp_path, True)
    assert state.free_bytes > 0
    assert list(tmp_path.iterdir()) == []
    assert look_at_folder(tmp_path).exists


def test_a_file_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder can be made below it."""
    (tmp_path / "file").touch()
    assert not look_at_folder(tmp_path / "file" / "models").writable
    monkeypatch.chdir(tmp_path)
    assert look_at_folder(Path("models")).path == tmp_path / "models"

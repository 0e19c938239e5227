from pathlib import Path

import pytest
from gpunode_protocol.file_place import FilePlace


@pytest.fixture
def place(tmp_path: Path) -> FilePlace:
    """A file in a folder of its own."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "lock").touch()
    return FilePlace(tmp_path / "folder" / "lock")


def test_a_file_that_stays(tmp_path: Path, place: FilePlace) -> None:
    """Whatever is written to it."""
    (tmp_path / "folder" / "lock").write_text("more")
    assert not place.is_lost()


@pytest.mark.parametrize("loss", ["deleted", "replaced", "file"])
def test_a_file_whose_folder_goes_away(tmp_path: Path, place: FilePlace, loss: str) -> None:
    """Another one of the same name is not the same."""
    (tmp_path / "folder").rename(tmp_path / "moved")
    if loss == "file":
        (tmp_path / "folder").touch()
    elif loss == "replaced":
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "lock").touch()
    assert place.is_lost()


def test_a_disk_that_does_not_answer(place: FilePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not gone away for good."""

    def fail(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "stat", fail)
    assert not place.is_lost()

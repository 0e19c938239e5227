"""One tracker for each data folder."""

import asyncio
from pathlib import Path

import pytest
from gpunode_tracker.data_folder import FolderWatch, locked
from gpunode_tracker.errors import DataFolderInUse, DataFolderLost, InvalidSettings


def test_the_second_tracker_is_refused(tmp_path: Path) -> None:
    """While the first one runs; afterwards the folder is free."""
    folder = tmp_path / "new"
    with locked(folder), pytest.raises(DataFolderInUse, match="--data-dir"), locked(folder):
        pass
    with locked(folder):
        assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """The message has the folder, the cause and the option."""

    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr("gpunode_tracker.data_folder.os.open", refuse)
    with pytest.raises(InvalidSettings, match=f"{tmp_path} .*{error.strerror}.*--data-dir"), locked(tmp_path):
        pass


def test_a_folder_below_a_file(tmp_path: Path) -> None:
    """It cannot be made, which is said the same way."""
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSettings, match="--data-dir"), locked(tmp_path / "file" / "data"):
        pass


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_folder_that_goes_away(tmp_path: Path, replaced: bool) -> None:
    """The tracker is asked to stop, which is no success: what it writes now would be lost."""
    folder, stop = tmp_path / "data", asyncio.Event()
    with locked(folder):
        watch = FolderWatch(folder)
        watch.raise_if_lost()
        folder.rename(tmp_path / "moved")
        if replaced:
            folder.mkdir()
            (folder / "tracker.lock").touch()
        await watch.run(stop)
    assert stop.is_set()
    with pytest.raises(DataFolderLost, match=r"data was deleted, moved or replaced .* tracker restore"):
        watch.raise_if_lost()

"""One tracker for each data folder."""

from pathlib import Path

import pytest
from gpunode_tracker.data_folder import locked
from gpunode_tracker.errors import DataFolderInUse


def test_the_second_tracker_is_refused(tmp_path: Path) -> None:
    """While the first one runs; afterwards the folder is free."""
    folder = tmp_path / "new"
    with locked(folder), pytest.raises(DataFolderInUse, match="--data-dir"), locked(folder):
        pass
    with locked(folder):
        assert folder.stat().st_mode & 0o077 == 0

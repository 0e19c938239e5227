"""The private file with id and token."""

from pathlib import Path

import pytest
from gpunode_node.pull.worker_file import WorkerFile, WorkerPass
from gpunode_protocol.regions import Region


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Only its owner can read it, and no log shows the token."""
    given = WorkerPass("id", "secret", Region.ASIA)
    file = WorkerFile(tmp_path / "pull.json")
    assert file.load() is None
    file.save(given)
    assert file.load() == given
    assert (tmp_path / "pull.json").stat().st_mode & 0o777 == 0o600
    assert "secret" not in repr(given)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"worker_id": "a", "token": "b", "region": "mars"}'])
def test_a_damaged_file(tmp_path: Path, content: str) -> None:
    """It counts as absent: the worker registers again."""
    (tmp_path / "pull.json").write_text(content)
    assert WorkerFile(tmp_path / "pull.json").load() is None

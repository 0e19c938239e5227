"""Private files."""

from pathlib import Path

import pytest
from gpunode_node.errors import StateUnwritable
from gpunode_node.state_files import read_json, write_json


def test_round_trip(tmp_path: Path) -> None:
    """Content, mode, and no draft left behind."""
    path = tmp_path / "sub" / "a.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_missing_and_damaged(tmp_path: Path) -> None:
    """Both read as None, also where brackets without end would be too deep for the parser."""
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.json").write_text("[" * 100_000)
    assert read_json(tmp_path / "a.json") is None
    assert read_json(tmp_path / "b.json") is None
    assert read_json(tmp_path / "c.json") is None


def test_unwritable(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnwritable, match=r"a\.json"):
        write_json(tmp_path / "file" / "a.json", {})

import os
from pathlib import Path

import pytest
import typer
from gpunode.cli_out import check_out


def test_what_can_be_written(tmp_path: Path) -> None:
    """No file at all, a new one, and one that is replaced."""
    check_out(None)
    check_out(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("old")
    check_out(tmp_path / "a.txt")


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed at once: folders that are not there, a folder's own name, and what belongs to others."""
    with pytest.raises(typer.BadParameter, match="no folder"):
        check_out(tmp_path / "no" / "a.txt")
    with pytest.raises(typer.BadParameter, match="is a folder"):
        check_out(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))  # root may write all
    with pytest.raises(typer.BadParameter, match="permission denied"):
        check_out(tmp_path / "a.txt")

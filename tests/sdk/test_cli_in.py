import os
from pathlib import Path

import pytest
import typer
from gpunode.cli_in import check_in


def test_what_can_be_read(tmp_path: Path) -> None:
    """No file at all, a file, and a pipe that nobody writes to yet."""
    file, pipe = tmp_path / "a.wav", tmp_path / "pipe"
    file.write_bytes(b"")
    os.mkfifo(pipe)
    check_in(None, file, pipe)


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there, a folder, and what belongs to others; each is named."""
    file = tmp_path / "a.wav"
    with pytest.raises(typer.BadParameter, match=r"there is no file .*a\.wav"):
        check_in(None, file)
    with pytest.raises(typer.BadParameter, match="is a folder"):
        check_in(tmp_path)
    file.write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (file, os.R_OK))  # root may read all
    with pytest.raises(typer.BadParameter, match="permission denied"):
        check_in(file)

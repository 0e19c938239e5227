"""Files that a command line names as input."""

import os
from pathlib import Path

import typer


def check_in(*files: Path | None) -> None:
    """Refuse files that could not be read, before the network is asked for anything. None stands for no file.

    They are looked at only, not opened: a pipe can be opened once.
    """
    for file in files:
        if file is None:
            continue
        if not file.exists():
            raise typer.BadParameter(f"there is no file {file}")
        if file.is_dir():
            raise typer.BadParameter(f"{file} is a folder; name a file in it")
        if not os.access(file, os.R_OK):
            raise typer.BadParameter(f"{file} cannot be read: permission denied")

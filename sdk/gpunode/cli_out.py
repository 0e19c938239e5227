"""The option ``--out``: a file that a result goes to."""

import os
from pathlib import Path

import typer


def check_out(out: Path | None) -> None:
    """Refuse a file that could not be written, before anything is paid or waited for."""
    if out is None:
        return
    folder = out.absolute().parent
    if not folder.is_dir():
        raise typer.BadParameter(f"there is no folder {folder}")
    if out.is_dir():
        raise typer.BadParameter(f"{out} is a folder; name a file in it")
    if not os.access(out if out.exists() else folder, os.W_OK):
        raise typer.BadParameter(f"{out} cannot be written: permission denied")

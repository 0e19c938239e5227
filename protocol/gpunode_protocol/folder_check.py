"""Whether a folder can be used: that it can be written to, and what is free where it lies."""

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gpunode_protocol.diagnosis import Finding, failure, ok, warning

MIB, GIB = 1024**2, 1024**3
FULL_BYTES = MIB
"""Less takes neither a key nor a database: whatever would be kept there fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderState:
    """exists: else it would be made below ``at``. writable: the folder, or where it would be made.

    is_folder: ``at`` is one, and no file.
    """

    path: Path
    exists: bool
    at: Path
    writable: bool
    free_bytes: int
    is_folder: bool = True


def look_at_folder(path: Path) -> FolderState:
    """Return a folder's state, or that of the nearest one above it that exists; a folder is made there and removed."""
    absolute = path.absolute()
    at = next(folder for folder in (absolute, *absolute.parents) if folder.exists())
    return FolderState(
        path=absolute,
        exists=at == absolute,
        at=at,
        writable=at.is_dir() and os.access(at, os.W_OK | os.X_OK) and _takes_folders(at),
        free_bytes=shutil.disk_usage(at).free,
        is_folder=at.is_dir(),
    )


def _takes_folders(at: Path) -> bool:
    """Try it for a moment: root may write everywhere, and yet /proc takes nothing. A full disk is told by its space."""
    try:
        with tempfile.TemporaryDirectory(prefix=".gpunode-doctor-", dir=at):
            return True
    except OSError as error:
        return error.errno in {errno.ENOSPC, errno.EDQUOT}


def judge_folder(state: FolderState, *, needed_bytes: int, needed_for: str, move_with: str) -> Finding:
    """Judge a folder.

    Args:
        needed_bytes: less free space than this is worth a warning, a full disk is a failure. needed_for: what takes it.
        move_with: the setting that names another folder.
    """
    if not state.is_folder:
        return failure(f"{state.at} is no folder.", f"Set {move_with} to one.")
    if not state.writable:
        return failure(
            f"{state.at} cannot be written to.",
            f"Correct its owner and permissions, or set {move_with} to another one.",
        )
    free = f"{_size(state.free_bytes)} free"
    if state.free_bytes < needed_bytes:
        judged = failure if state.free_bytes < FULL_BYTES else warning
        return judged(
            f"{free} at {state.path}; {needed_for} takes {_size(needed_bytes)}.",
            f"Free some disk space, or set {move_with} to a folder on another disk.",
        )
    return ok(f"{free} at {state.path}{'' if state.exists else ', which the first start makes'}.")


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count // MIB} MiB"

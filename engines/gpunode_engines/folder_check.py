"""Whether a folder can be used: that it can be written to, and what is free where it lies."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from gpunode_protocol.diagnosis import Finding, failure, ok, warning

GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderState:
    """exists: else it would be made below ``at``. writable: the folder, or where it would be made."""

    path: Path
    exists: bool
    at: Path
    writable: bool
    free_bytes: int


def look_at_folder(path: Path) -> FolderState:
    """Return a folder's state, or that of the nearest one above it that exists."""
    absolute = path.absolute()
    at = next(folder for folder in (absolute, *absolute.parents) if folder.exists())
    return FolderState(
        path=absolute,
        exists=at == absolute,
        at=at,
        writable=at.is_dir() and os.access(at, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(at).free,
    )


def judge_folder(state: FolderState, *, needed_bytes: int, needed_for: str, move_with: str) -> Finding:
    """Judge a folder.

    Args:
        needed_bytes: less free space than this is worth a warning. needed_for: what takes it.
        move_with: the setting that names another folder.
    """
    if not state.writable:
        return failure(
            f"{state.at} cannot be written to.",
            f"Correct its owner and permissions, or set {move_with} to another one.",
        )
    free = f"{state.free_bytes / GIB:.1f} GiB free"
    if state.free_bytes < needed_bytes:
        return warning(
            f"{free} at {state.path}; {needed_for} takes {needed_bytes / GIB:.1f} GiB.",
            f"Free some disk space, or set {move_with} to a folder on another disk.",
        )
    return ok(f"{free} at {state.path}{'' if state.exists else ', which the first start makes'}.")

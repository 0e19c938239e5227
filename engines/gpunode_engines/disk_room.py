"""Whether what is to be pulled fits on the disk, and what happens when the disk fills nevertheless."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gpunode_engines.errors import DownloadFailed, NotEnoughDisk

SPARE_BYTES: Final = 512 * 1024**2
"""Stays free: the node's own databases, and others', need some."""
_GIB: Final = 1024**3


def free_bytes(folder: Path) -> int:
    """Return what is free where a folder lies, or would be made."""
    absolute = folder.absolute()
    return shutil.disk_usage(next(path for path in (absolute, *absolute.parents) if path.exists())).free


def check_room(model: str, needed_bytes: int, folder: Path, free: int) -> None:
    """Check before a download. needed_bytes: still to come; free: bytes free there.

    Raises:
        NotEnoughDisk: with both figures.
    """
    if needed_bytes and needed_bytes + SPARE_BYTES > free:
        raise NotEnoughDisk(
            f"{model} needs {needed_bytes / _GIB:.1f} GiB more on the disk, and {free / _GIB:.1f} GiB are free at "
            f"{folder} ({SPARE_BYTES / _GIB:.1f} GiB must stay free). Remove models that you do not serve (gpunode "
            "models remove), or set GPUNODE_MODELS_DIR to a folder on another disk."
        )


@contextmanager
def given_back_when_full(partial: Path, target: Path) -> Iterator[None]:
    """Delete what is here of a file when the disk fills while it is written.

    Args:
        partial: the unfinished file. target: what it was to become.

    Raises:
        DownloadFailed: the disk, or the user's share of it, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        partial.unlink(missing_ok=True)
        raise DownloadFailed(
            f"The disk of {target.parent} is full. What was here of {target.name} was deleted; free some space, or "
            "set GPUNODE_MODELS_DIR to a folder on another disk, and pull again."
        ) from error

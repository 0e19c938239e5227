"""Where a backup is put together, beside the file that it becomes; what killed ones left there is taken away."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PREFIX: Final = ".gpunode-backup-"
LOCK_FILE: Final = "lock"
_TRIES: Final = 10


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder, for its owner only, that is gone afterwards; first remove those that nobody works in.

    Raises:
        OSError: it cannot be made.
    """
    for left in parent.glob(f"{PREFIX}*"):
        _remove_if_left(left)
    folder, lock = _made(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made(parent: Path) -> tuple[Path, int]:
    """Return a new folder and the descriptor by which it is locked; the system drops that with the process."""
    for _ in range(_TRIES):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = _lock(folder)
        if lock is not None:
            return folder, lock
    raise FileNotFoundError(None, "Others remove what is made", str(parent))


def _lock(folder: Path) -> int | None:
    """Return the descriptor of a lock on a folder; None: somebody has it, or the folder is gone."""
    try:
        lock = os.open(folder / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:  # else it was removed between the two
            return lock
    except BlockingIOError:
        pass
    os.close(lock)
    return None


def _remove_if_left(folder: Path) -> None:
    try:
        state = folder.lstat()
        lock = _lock(folder) if folder.is_dir() and not folder.is_symlink() and state.st_uid == os.getuid() else None
    except OSError:  # it is somebody's who removes it now, or no folder that this makes
        return
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)

"""The folder in which an engine's process may write, for as long as its parent lives and wants it."""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from gpunode_engines.folder_removal import remove_folder

_PREFIX = "gpunode-scratch-"
_HAS_LOCKS: Final = find_spec("fcntl") is not None
"""Only Unix has them."""


class ScratchFolder:
    """A new folder below the system's for temporary files. Whoever made it calls ``remove``.

    It is locked by an open descriptor of this process, which ends with it, however that ends. A process id in its name
    would not tell whether it is in use: in a container the next node has the number of the one before.

    Where there are no such locks (not Unix), what a killed process left stays until the system clears its folder.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        remove_stale()
        self.path, self._descriptor = _made()
        while _HAS_LOCKS and self._descriptor < 0:  # another process took it for a stale one meanwhile
            self.path, self._descriptor = _made()

    def remove(self) -> None:
        """Remove the folder with all that is in it. Idempotent; may be called in any thread."""
        remove_folder(self.path)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def remove_stale() -> None:
    """Remove folders whose process was killed before it could."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        descriptor = _locked(path, wait=False)
        if descriptor >= 0:
            remove_folder(path)
            os.close(descriptor)


def _made() -> tuple[Path, int]:
    path = Path(tempfile.mkdtemp(prefix=_PREFIX))
    return path, _locked(path, wait=True)


def _locked(path: Path, *, wait: bool) -> int:
    """Return a descriptor that holds the lock on a folder; -1 if it is in use, another's, gone, or cannot be locked."""
    if not _HAS_LOCKS:
        return -1
    import fcntl  # noqa: PLC0415 -- see _HAS_LOCKS

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        status = os.fstat(descriptor)
        if status.st_nlink and status.st_uid == os.geteuid() and path.is_dir():
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return -1

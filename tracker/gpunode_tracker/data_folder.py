"""One tracker process for each data folder."""

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpunode_protocol.file_place import FilePlace

from gpunode_tracker.errors import DatabaseUnusable, DataFolderInUse, DataFolderLost, InvalidSettings

logger = logging.getLogger(__name__)

LOCK_FILE = "tracker.lock"
UNFINISHED_RESTORE = "restore.unfinished"
WATCH_INTERVAL_S = 5.0


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system drops with the process.

    Raises:
        DataFolderInUse: another tracker runs on it. InvalidSettings: it cannot be made or written.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise InvalidSettings(
            f"The data folder {data_dir} cannot be written: {error.strerror}. Make it writable for this user, or "
            "choose another one with --data-dir."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataFolderInUse(
                f"Another tracker runs on {data_dir}. Stop it, or choose another folder with --data-dir."
            ) from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def being_restored(data_dir: Path) -> Iterator[None]:
    """Mark a locked folder as half restored until the end; the mark stays if the process or the machine ends first."""
    mark = data_dir / UNFINISHED_RESTORE
    _write_through(mark, os.O_CREAT | os.O_WRONLY)
    _write_through(data_dir, os.O_RDONLY)
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def refuse_half_restored(data_dir: Path) -> None:
    """Refuse a folder whose restore was cut off: its keys may be there and its ledger not.

    Raises:
        DatabaseUnusable: it is one.
    """
    if (data_dir / UNFINISHED_RESTORE).exists():
        raise DatabaseUnusable(
            f"A restore into {data_dir} was cut off, or is still going on. If it does not run any more, delete the "
            "folder, make a new database if a URL names one, and restore again."
        )


def _write_through(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags, 0o600)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FolderWatch:
    """Notices that the folder is no longer at its path: SQLite would go on writing to a file that nobody sees again.

    Args:
        data_dir: locked.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock_place = FilePlace(data_dir / LOCK_FILE)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until the folder is lost, and then set ``stop``."""
        while True:
            if self.is_lost():
                logger.error("%s", self._told(), extra={"event": "data_folder_lost"})
                stop.set()
                return
            await asyncio.sleep(WATCH_INTERVAL_S)

    def is_lost(self) -> bool:
        """Whether the folder was deleted, moved or replaced."""
        return self._lock_place.is_lost()

    def raise_if_lost(self) -> None:
        """Raise DataFolderLost if it was."""
        if self.is_lost():
            raise DataFolderLost(self._told())

    def _told(self) -> str:
        return (
            f"The data folder {self._data_dir} was deleted, moved or replaced while the tracker ran, so it ends. Put "
            "it back, or restore a backup ('gpunode tracker restore'): a new folder would begin a new network."
        )

"""One tracker process for each data folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpunode_tracker.errors import DataFolderInUse, InvalidSettings

LOCK_FILE = "tracker.lock"


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

"""Notices that the operator's commands changed the file of sealing keys."""

from pathlib import Path

from gpunode_tracker.sealing import Sealer
from gpunode_tracker.sealing_key_file import read_key_file


class SealingWatch:
    """Remembers which file was read last.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def refresh(self, sealer: Sealer) -> None:
        """Give a sealer the file's keys if the file is another one than before.

        Raises:
            KeysUnusable: it is not one of these any more; the keys of before still work.
        """
        found = self._look()
        if found != self._seen and found is not None:
            sealer.take_keys(read_key_file(self._path).keys)
        self._seen = found

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

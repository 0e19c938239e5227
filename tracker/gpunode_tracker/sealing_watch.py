"""Notices that the operator's commands changed the file of sealing keys."""

from pathlib import Path

from gpunode_tracker.sealing import Sealer


class SealingWatch:
    """Remembers which file was read last.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def refreshed(self, sealer: Sealer) -> Sealer:
        """Return a sealer with the file's keys; the same one while the file is the same.

        Raises:
            KeysUnusable: the file went or is not one of these any more; the sealer of before still works.
        """
        found = self._look()
        if found == self._seen:
            return sealer
        fresh = Sealer.from_file(self._path) if found is not None else sealer
        self._seen = found
        return fresh

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

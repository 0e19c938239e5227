"""Whether a file is still at its path; a folder is lost with its lock file."""

from pathlib import Path


class FilePlace:
    """Remembers which file is at a path. Raises OSError: none is, or it cannot be asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._id = _file_id(path)

    def is_lost(self) -> bool:
        """Whether the file, or a folder that it is in, was deleted, moved or replaced."""
        try:
            return _file_id(self._path) != self._id
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # a disk that does not answer has not gone away for good
            return False


def _file_id(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_dev, state.st_ino

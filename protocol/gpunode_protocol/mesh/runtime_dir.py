"""A private directory for the sockets between this process and p2pd.

Whoever can connect to these sockets can act as this peer, so the directory has mode 0700. Its path is short, because
a Unix socket's path has at most 107 bytes (``man 7 unix``). A lock inside tells a living directory from a left-over.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gpunode_protocol.mesh.errors import MeshError

MAX_SOCKET_PATH_BYTES = 107
_PREFIX = "gpn-"
_LOCK_NAME = "lock"
_LONGEST_NAME_BYTES = 24  # "/", the random name, "/", the longest socket name


class RuntimeDir:
    """A directory that exists until ``remove``; left-overs of killed processes are removed by later ones."""

    def __init__(self, path: Path, lock_descriptor: int, parents: Sequence[Path]) -> None:
        self.path = path
        self._lock_descriptor = lock_descriptor
        self._parents = parents

    @classmethod
    def create(cls, parents: Sequence[Path]) -> "RuntimeDir":
        """Make a directory in the first parent that exists, may be written to and has a short enough path.

        Raises:
            MeshError: none of them will do.
        """
        return cls(*_make_in_first(parents), parents)

    def restore(self) -> Path:
        """Make another directory if this one was deleted with the folder that it lay in; return where it is now.

        Raises:
            MeshError: see ``create``.
        """
        if not self.path.exists():
            old, (self.path, self._lock_descriptor) = self._lock_descriptor, _make_in_first(self._parents)
            os.close(old)
        return self.path

    def remove(self) -> None:
        """Delete the directory with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock_descriptor)


def _make_in_first(parents: Sequence[Path]) -> tuple[Path, int]:
    for parent in parents:
        if len(os.fsencode(parent)) + _LONGEST_NAME_BYTES > MAX_SOCKET_PATH_BYTES or not os.access(parent, os.W_OK):
            continue
        _remove_left_overs(parent)
        return _make_locked(parent)
    raise MeshError(
        f"No directory for p2pd's sockets: none of {', '.join(map(str, parents))} is writable and has a short path."
    )


def default_parents(state_dir: Path | None) -> list[Path]:
    """Return where the directory may be, best first: what lies in the state directory goes away with it."""
    candidates = [state_dir, os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"]  # noqa: S108 -- mkdtemp makes it private
    return [Path(candidate) for candidate in candidates if candidate]


def _make_locked(parent: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        descriptor = os.open(path / _LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        _lock(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # taken for a left-over in the moment before it was locked


def _lock(descriptor: int, *, wait: bool) -> None:
    import fcntl  # noqa: PLC0415 -- only Unix has it; elsewhere the mesh's modules can be loaded all the same

    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _remove_left_overs(parent: Path) -> None:
    for path in parent.glob(f"{_PREFIX}*"):
        try:
            descriptor = os.open(path / _LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # not ours, or being made at this moment
            continue
        try:
            _lock(descriptor, wait=False)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:  # locked: its owner lives
            continue
        finally:
            os.close(descriptor)

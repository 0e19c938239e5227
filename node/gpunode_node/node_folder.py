"""The node's data directory: where each file is, and that only one daemon uses it.

::

    <data dir>/          mode 0700
    ├── identity.key     the node's key (libp2p format, mode 0600); earnings belong to it
    ├── network.json     pinned root key and the tracker's last network info
    ├── worker.json      worker token and certificate (mode 0600)
    ├── pull.json        worker id and token of a pull worker (mode 0600)
    ├── paused.json      while the owner has paused the node, also across restarts
    ├── ledger.json      the ledger's last signed head, and one that contradicted it
    ├── admission.db     requests that were worked on
    ├── outbox.db        vouchers and receipts on their way to the tracker
    ├── completions.db   results of pulled jobs on their way to the tracker
    ├── mesh/            peers met before
    ├── run.json         while a daemon is ready: pid, peer id, addresses, models, region
    ├── control.sock     while a daemon runs
    └── lock             held by the running daemon
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunode_protocol.file_place import FilePlace

from gpunode_node.errors import NodeFolderInUse, StateUnwritable
from gpunode_node.state_files import write_json

if TYPE_CHECKING:
    from filelock import BaseFileLock

MAX_SOCKET_PATH_BYTES = 107
"""A Unix socket's path is no longer (man 7 unix)."""


class NodeFolder:
    """Paths in a data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.identity = self.path / "identity.key"
        self.network = self.path / "network.json"
        self.worker = self.path / "worker.json"
        self.pull = self.path / "pull.json"
        self.paused = self.path / "paused.json"
        self.ledger_head = self.path / "ledger.json"
        self.admission = self.path / "admission.db"
        self.outbox = self.path / "outbox.db"
        self.completions = self.path / "completions.db"
        self.mesh = self.path / "mesh"
        self.run = self.path / "run.json"
        self._lock: BaseFileLock | None = None
        self._lock_file = self.path / "lock"
        self._lock_place: FilePlace | None = None

    @property
    def control(self) -> Path:
        """The control socket; where the folder's path is too long for one, in the runtime or temporary folder."""
        path = self.path / "control.sock"
        if sys.platform == "win32" or len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
            return path
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        parent = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        return parent / f"gpunode-{os.getuid()}-{digest}.sock"

    def take(self) -> None:
        """Make the folder and take its lock.

        Raises:
            NodeFolderInUse: another daemon has it. StateUnwritable: it cannot be made.
        """
        from filelock import FileLock, Timeout  # noqa: PLC0415 -- an optional dependency, of whoever runs a node

        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.mesh.mkdir(mode=0o700, exist_ok=True)
            lock = FileLock(self._lock_file, mode=0o600)
            lock.acquire(blocking=False)
            self._lock_place = FilePlace(self._lock_file)
        except Timeout as error:
            raise NodeFolderInUse(
                f"Another node runs in {self.path}. Stop it, or choose another folder with --data-dir."
            ) from error
        except OSError as error:
            raise StateUnwritable(
                f"The data directory {self.path} cannot be used: {error.strerror}. Choose another one with --data-dir."
            ) from error
        self._lock = lock
        self.run.unlink(missing_ok=True)  # of a daemon that was killed

    def is_lost(self) -> bool:
        """Whether the folder that was taken is no longer at its path: what a daemon writes there would be lost."""
        return self._lock_place is not None and self._lock_place.is_lost()

    def mark_ready(self, content: Mapping[str, Any]) -> None:
        """Write ``run.json``: the daemon is ready. Its pid is added."""
        write_json(self.run, {"pid": os.getpid(), **content})

    def give_back(self) -> None:
        """Remove ``run.json`` and free the folder. May be called twice."""
        if not self.is_lost():  # else it is another daemon's, or nobody's
            self.run.unlink(missing_ok=True)
        self._lock_place = None
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

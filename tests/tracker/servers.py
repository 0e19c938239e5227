"""A server program for tests: in a short-lived folder of its own, reached by a Unix socket, ended by its pid."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.05
_MEMORY = Path("/dev/shm")
_MEMORY_NEEDED_BYTES = 2 * 2**30


class Server:
    """One process that tests start, stop, freeze and let go on; a context manager.

    Subclasses say how it is started and when it answers. Unix sockets have paths of at most 108 bytes, so the folder
    stands straight in the system's folder for temporary files; or in memory if there is room, where nothing waits for
    other programs' writes.
    """

    user: str | None = None

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.folder = Path(tempfile.mkdtemp(prefix=f"gpunode-{type(self).__name__.lower()}-", dir=_fast_folder()))
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        if self.user is not None:
            shutil.chown(self.folder, self.user)

    def command(self) -> Sequence[str]:
        """Return the program and its arguments."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Return whether it serves."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, **self.as_user()
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"It did not start: {(self.folder / 'log').read_text(errors='replace')}")
            time.sleep(_POLL_S)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and wait for its end; nothing if it does not run."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None
        if self._log is not None:
            self._log.close()

    def freeze(self) -> None:
        """Stop it and its children in the middle of what they do: it takes connections and never answers."""
        for process in self._family():
            process.suspend()

    def thaw(self) -> None:
        """Let it go on."""
        for process in self._family():
            process.resume()

    def _family(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def as_user(self) -> dict[str, object]:
        """Return what makes ``subprocess`` run a program as the user that it needs."""
        if self.user is None:
            return {}
        entry = pwd.getpwnam(self.user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": self.folder}

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End it, and remove what it wrote."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _fast_folder() -> Path | None:
    """Return a folder in memory with enough room; None: the system's folder for temporary files will do."""
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _MEMORY_NEEDED_BYTES:
        return None
    return _MEMORY


def unprivileged_user(*names: str) -> str | None:
    """Return the first of some users that exists, if this process is root; None: whoever runs it will do."""
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return None

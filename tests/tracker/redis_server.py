"""A real Redis for tests, which keeps nothing on disk."""

import shutil
import socket
from pathlib import Path

from tests.tracker.servers import Server

NO_REDIS = "redis-server is not installed (Debian: apt-get install redis-server)"


def find_redis() -> Path | None:
    """Return the program; None: it is not installed."""
    found = shutil.which("redis-server")
    return Path(found) if found is not None else None


class Redis(Server):
    """One server, reached by a Unix socket."""

    def __init__(self, program: Path) -> None:
        """It does not run yet."""
        super().__init__()
        self._program = program
        self._socket = self.folder / "redis.sock"

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        kept = ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        return [str(self._program), "--port", "0", "--unixsocket", str(self._socket), *kept]

    def answers(self) -> bool:
        """Return whether it serves."""
        with socket.socket(socket.AF_UNIX) as asked:
            try:
                asked.connect(str(self._socket))
                asked.sendall(b"PING\r\n")
                return asked.recv(7).startswith(b"+PONG")
            except OSError:
                return False

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"unix://{self._socket}"

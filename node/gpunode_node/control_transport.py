"""How the control commands reach a daemon: a Unix socket, or where there is none, a port on loopback and a secret.

Either way only whoever may read the daemon's folder gets through.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Final, Protocol

from gpunode_engines.secret_listener import LOOPBACK, Accept, SecretListener

from gpunode_node.errors import StateUnwritable
from gpunode_node.state_files import read_json, write_json

MAX_LINE_BYTES: Final = 65_536
SOCKET_MODE: Final = 0o600


class Listening(Protocol):
    """Somebody who listens until ``close``."""

    def close(self) -> None:
        """Listen no more."""
        ...


class ControlTransport(Protocol):
    """One way to listen and to connect."""

    async def listen(self, path: Path, accept: Accept) -> Listening:
        """Listen where ``path`` says; what is left over there is replaced. Raises StateUnwritable."""
        ...

    def connect(self, path: Path, timeout_s: float) -> socket.socket:
        """Return a connection to whoever listens there. Raises OSError, ValueError: nobody, or somebody else."""
        ...


class UnixTransport:
    """A socket file that only its owner can connect to."""

    async def listen(self, path: Path, accept: Accept) -> Listening:
        """See ``ControlTransport``."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            path.chmod(SOCKET_MODE)  # before anyone can connect: it does not listen yet
            return await asyncio.start_unix_server(accept, sock=listener, limit=MAX_LINE_BYTES)
        except OSError as error:
            listener.close()
            raise StateUnwritable(f"The control socket {path} cannot be made: {error.strerror}.") from error

    def connect(self, path: Path, timeout_s: float) -> socket.socket:
        """See ``ControlTransport``."""
        if path.lstat().st_uid != os.getuid():  # in a shared folder the name could be somebody else's
            raise PermissionError(f"{path} is somebody else's.")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
        except BaseException:
            connection.close()
            raise
        return connection


class LoopbackTransport:
    """A port on loopback; the file names it, and the secret that each connection begins with."""

    async def listen(self, path: Path, accept: Accept) -> Listening:
        """See ``ControlTransport``."""
        listener = SecretListener(accept, line_bytes=MAX_LINE_BYTES)
        try:
            await listener.open()
        except OSError as error:
            raise StateUnwritable(f"No port on loopback can be had for commands: {error.strerror}.") from error
        try:
            write_json(path, {"port": listener.port, "secret": listener.secret})
        except StateUnwritable:
            listener.close()
            raise
        return listener

    def connect(self, path: Path, timeout_s: float) -> socket.socket:
        """See ``ControlTransport``."""
        told = read_json(path)
        try:
            address, secret = (LOOPBACK, int(told["port"])), str(told["secret"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"{path} names no port.") from error
        connection = socket.create_connection(address, timeout_s)
        try:
            connection.sendall(secret.encode() + b"\n")
        except BaseException:
            connection.close()
            raise
        return connection


def control_transport() -> ControlTransport:
    """Return this platform's way."""
    return LoopbackTransport() if sys.platform == "win32" else UnixTransport()

"""How the control commands reach a daemon: a Unix socket, or where there is none, a port on loopback and a secret.

Either way only whoever may read the daemon's folder gets through.
"""

import asyncio
import hmac
import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from gpunode_node.errors import StateUnwritable
from gpunode_node.state_files import read_json, write_json

MAX_LINE_BYTES: Final = 65_536
SOCKET_MODE: Final = 0o600
_SECRET_TIMEOUT_S: Final = 5.0
_LOOPBACK: Final = "127.0.0.1"

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
"""Takes a connection whose other end may give commands."""


class ControlTransport(Protocol):
    """One way to listen and to connect."""

    async def listen(self, path: Path, accept: Accept) -> asyncio.Server:
        """Listen where ``path`` says; what is left over there is replaced. Raises StateUnwritable."""
        ...

    def connect(self, path: Path, timeout_s: float) -> socket.socket:
        """Return a connection to whoever listens there. Raises OSError, ValueError: nobody, or somebody else."""
        ...


class UnixTransport:
    """A socket file that only its owner can connect to."""

    async def listen(self, path: Path, accept: Accept) -> asyncio.Server:
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

    async def listen(self, path: Path, accept: Accept) -> asyncio.Server:
        """See ``ControlTransport``."""
        secret = secrets.token_hex()
        checks: set[asyncio.Task[None]] = set()

        async def check(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await _knows(secret, reader):
                accept(reader, writer)
            else:
                writer.close()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(check(reader, writer))
            checks.add(task)
            task.add_done_callback(checks.discard)

        try:
            server = await asyncio.start_server(begin, _LOOPBACK, 0, limit=MAX_LINE_BYTES)
        except OSError as error:
            raise StateUnwritable(f"No port on loopback can be had for commands: {error.strerror}.") from error
        try:
            write_json(path, {"port": server.sockets[0].getsockname()[1], "secret": secret})
        except StateUnwritable:
            server.close()
            raise
        return server

    def connect(self, path: Path, timeout_s: float) -> socket.socket:
        """See ``ControlTransport``."""
        told = read_json(path)
        try:
            address, secret = (_LOOPBACK, int(told["port"])), str(told["secret"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"{path} names no port.") from error
        connection = socket.create_connection(address, timeout_s)
        try:
            connection.sendall(secret.encode() + b"\n")
        except BaseException:
            connection.close()
            raise
        return connection


async def _knows(secret: str, reader: asyncio.StreamReader) -> bool:
    """Whether a connection begins with the secret."""
    try:
        async with asyncio.timeout(_SECRET_TIMEOUT_S):
            line = await reader.readline()
    except (OSError, ValueError, TimeoutError):
        return False
    return hmac.compare_digest(line.strip(), secret.encode())


def control_transport() -> ControlTransport:
    """Return this platform's way."""
    return LoopbackTransport() if sys.platform == "win32" else UnixTransport()

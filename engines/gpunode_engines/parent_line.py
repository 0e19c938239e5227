"""The child's second socket to its parent: for what it cannot do itself once sockets are refused to it.

Requests are 3 bytes: kind, then a port, big-endian. The answer to CONNECT and SERVER is 1 byte and, with GRANTED, a
descriptor.
"""

import socket
import struct
import threading
from typing import Protocol

REQUEST = struct.Struct(">cH")
CONNECT = b"c"
SERVER = b"s"
"""A connection to the one server that the model's owner named; the port has no meaning."""
DENIALS = b"d"
"""Comes with the descriptor of a seccomp listener and has no answer."""

GRANTED = b"+"
REFUSED = b"-"


class Connections(Protocol):
    """How a child gets connections; all methods may be called from any thread."""

    def connect(self, port: int) -> socket.socket:
        """Return a connection to a listener of this very process on 127.0.0.1. Raises OSError."""
        ...

    def connect_to_server(self) -> socket.socket:
        """Return a connection to the server that the model's owner named. Raises OSError."""
        ...


class ParentLine:
    """The child's end; implements ``Connections``: the parent makes them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def connect(self, port: int) -> socket.socket:
        """See ``Connections``. The parent may refuse, or be gone."""
        return self._ask(CONNECT, port)

    def connect_to_server(self) -> socket.socket:
        """See ``Connections``."""
        return self._ask(SERVER, 0)

    def _ask(self, kind: bytes, port: int) -> socket.socket:
        with self._lock:
            self._sock.sendall(REQUEST.pack(kind, port))
            answer, descriptors, _, _ = socket.recv_fds(self._sock, len(GRANTED), 1)
        if answer != GRANTED or not descriptors:
            raise ConnectionRefusedError(f"The parent did not connect to {f'port {port}' if port else 'the server'}.")
        return socket.socket(fileno=descriptors[0])

    def report_denials(self, listener: int) -> None:
        """Give the parent a seccomp listener."""
        with self._lock:
            socket.send_fds(self._sock, [REQUEST.pack(DENIALS, 0)], [listener])


_ways: list[Connections] = []
"""One process has one parent: the worker sets its way before it loads a backend, see ``use_connections``."""


def use_connections(way: Connections) -> None:
    """Make a way the one that ``connect`` and ``connect_to_server`` take."""
    _ways[:] = [way]


def connect(port: int) -> socket.socket:
    """Return a connection to a listener of this process. Raises OSError."""
    if not _ways:
        raise ConnectionRefusedError("This process has no line to a parent.")
    return _ways[0].connect(port)


def connect_to_server() -> socket.socket:
    """Return a connection to the server that the model's owner named. Raises OSError."""
    if not _ways:
        raise ConnectionRefusedError("This process has no line to a parent.")
    return _ways[0].connect_to_server()

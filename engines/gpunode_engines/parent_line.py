"""The child's second socket to its parent: for what it cannot do itself once sockets are refused to it.

Requests are 3 bytes: kind, then a port, big-endian. The answer to CONNECT and SERVER is 1 byte and, with GRANTED, a
descriptor.
"""

import socket
import struct
import threading

REQUEST = struct.Struct(">cH")
CONNECT = b"c"
SERVER = b"s"
"""A connection to the one server that the model's owner named; the port has no meaning."""
DENIALS = b"d"
"""Comes with the descriptor of a seccomp listener and has no answer."""

GRANTED = b"+"
REFUSED = b"-"


class ParentLine:
    """The child's end; all methods may be called from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def connect(self, port: int) -> socket.socket:
        """Return a connection to a listener of this very process on 127.0.0.1.

        Raises:
            OSError: the parent refused, or is gone.
        """
        return self._ask(CONNECT, port)

    def connect_to_server(self) -> socket.socket:
        """Return a connection to the server that the model's owner named. Raises OSError."""
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


_lines: list[ParentLine] = []
"""One process has one parent: the worker sets the line before it loads a backend, see ``use_line``."""


def use_line(line: ParentLine) -> None:
    """Make a line the one that ``connect`` uses."""
    _lines[:] = [line]


def connect(port: int) -> socket.socket:
    """Return a connection to a listener of this process. Raises OSError."""
    if not _lines:
        raise ConnectionRefusedError("This process has no line to a parent.")
    return _lines[0].connect(port)


def connect_to_server() -> socket.socket:
    """Return a connection to the server that the model's owner named. Raises OSError."""
    if not _lines:
        raise ConnectionRefusedError("This process has no line to a parent.")
    return _lines[0].connect_to_server()

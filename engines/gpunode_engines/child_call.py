"""A child's call to its parent, where it inherited no socket: see ``child_link``.

On its standard input it finds one line, port and secret. It sends the secret and a line end, then its process id as 4
bytes, big-endian; from then on the connection carries frames, see ``channel``.
"""

import os
import socket
import struct
from typing import Final

from gpunode_engines.secret_listener import LOOPBACK

PID: Final = struct.Struct(">I")

_CONNECT_TIMEOUT_S: Final = 10.0


def first_words(port: int, secret: str) -> bytes:
    """Return what a child must find on its standard input."""
    return f"{port} {secret}\n".encode()


def call_parent(words: bytes) -> socket.socket:
    """Return a connection to the parent.

    Args:
        words: see ``first_words``.

    Raises:
        OSError: the parent does not listen any more. ValueError: it gave no such words.
    """
    port, secret = words.split()
    connection = socket.create_connection((LOOPBACK, int(port)), _CONNECT_TIMEOUT_S)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # tokens are small, and none may wait
        connection.sendall(secret + b"\n" + PID.pack(os.getpid()))
    except BaseException:
        connection.close()
        raise
    connection.settimeout(None)
    return connection

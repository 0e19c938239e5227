"""Messages between the lab and those who use it: one JSON object in each packet of a Unix socket, with descriptors."""

import array
import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

MAX_MESSAGE_BYTES: Final = 128 * 1024
"""A kernel's default socket buffer holds it whole."""
MAX_DESCRIPTORS: Final = 4

Message = dict[str, Any]


def message_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def message_socket() -> socket.socket:
    """Return a socket that can listen or be connected."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send_message(connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        ValueError: it is too long.
        OSError: the other side is gone.
    """
    data = json.dumps(message).encode()
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError(f"A message to the lab has {len(data)} bytes; put large data in a file.")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([data], ancillary)


def receive_message(connection: socket.socket) -> tuple[Message, list[int]] | None:
    """Return the next message and its descriptors, which the caller closes; None if the other side is gone.

    Raises:
        OSError: nothing came in the socket's time.
    """
    descriptors = array.array("i")
    try:
        data, ancillary, _, _ = connection.recvmsg(
            MAX_MESSAGE_BYTES, socket.CMSG_LEN(MAX_DESCRIPTORS * descriptors.itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionError:
        return None
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    if not data:
        close_all(descriptors.tolist())
        return None
    return json.loads(data), descriptors.tolist()


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors, those too that are closed already."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)

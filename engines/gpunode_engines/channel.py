"""The framed pipe between parent and child: 4-byte big-endian length, then one msgpack map.

The parent's end is asynchronous, the child's end blocking, because the child's backends are.
"""

import asyncio
import contextlib
import socket
import struct
import threading

from gpunode_protocol.errors import FrameTooLong

from gpunode_engines.ipc import (
    MAX_CHILD_FRAME_BYTES,
    MAX_PARENT_FRAME_BYTES,
    ChildMessage,
    ParentMessage,
    decode_child,
    decode_parent,
    encode_child,
    encode_parent,
)

_HEADER = struct.Struct(">I")


def _frame(payload: bytes, max_bytes: int) -> bytes:
    if len(payload) > max_bytes:
        raise FrameTooLong(f"An engine message has {len(payload)} bytes, {max_bytes} are allowed.")
    return _HEADER.pack(len(payload)) + payload


def _length(header: bytes, max_bytes: int) -> int:
    (length,) = _HEADER.unpack(header)
    if length > max_bytes:
        raise FrameTooLong(f"An engine announced a message of {length} bytes, {max_bytes} are allowed.")
    return int(length)


class ParentChannel:
    """The parent's end. ``close`` releases the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> "ParentChannel":
        """Take over a connected stream socket."""
        return cls(*await asyncio.open_connection(sock=sock))

    def post(self, message: ParentMessage) -> None:
        """Send one small message without waiting; a child that is gone is noticed by ``receive``."""
        self._writer.write(_frame(encode_parent(message), MAX_PARENT_FRAME_BYTES))

    async def send(self, message: ParentMessage) -> None:
        """Send one message; waits while the child does not read.

        Raises:
            ConnectionError: the child is gone. FrameTooLong: the message exceeds the cap.
        """
        self._writer.write(_frame(encode_parent(message), MAX_PARENT_FRAME_BYTES))
        await self._writer.drain()

    async def receive(self) -> ChildMessage:
        """Return the next message.

        Raises:
            EOFError, ConnectionError: the child is gone. ProtocolError: it sent something else than a message.
        """
        length = _length(await self._reader.readexactly(_HEADER.size), MAX_CHILD_FRAME_BYTES)
        return decode_child(await self._reader.readexactly(length))

    async def close(self) -> None:
        """Close the socket."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return  # the child closed first; there is nothing left to flush


class ChildChannel:
    """The child's end: ``receive`` belongs to one thread, ``send`` to any."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, message: ChildMessage) -> None:
        """Send one message. Raises OSError when the parent is gone."""
        frame = _frame(encode_child(message), MAX_CHILD_FRAME_BYTES)
        with self._lock:
            self._sock.sendall(frame)

    def receive(self) -> ParentMessage | None:
        """Return the next message, or None when the parent has closed the pipe."""
        header = self._read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        length = _length(header, MAX_PARENT_FRAME_BYTES)
        payload = self._read(length)
        return decode_parent(payload) if len(payload) == length else None

    def _read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer only at the end of the stream. A killed parent may leave a reset."""
        data = bytearray()
        with contextlib.suppress(ConnectionError):
            while len(data) < size and (chunk := self._sock.recv(size - len(data))):
                data += chunk
        return bytes(data)

"""hivemind's ``P2P`` attached to a p2pd that we started, with a deadline on every call to it.

Control protocol: one message a connection on p2pd's socket (hivemind/proto/p2pd.proto). hivemind's own client leaves
connections open when a call fails, waits for ever for a dead daemon, and listens with a backlog of 100, beyond which
incoming streams are dropped without a word.
"""

import asyncio
import contextlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf.proto import serialize_length_prefixed  # type: ignore[import-untyped]  # -- has no annotations

from gpunode_protocol.mesh._hivemind_api import (
    P2P,
    Client,
    Multiaddr,
    P2PDaemonError,
    PeerID,
    StreamInfo,
    p2pd_pb2,
    read_pbmsg_safe,
)
from gpunode_protocol.mesh.errors import MeshUnavailable, PeerUnreachable, StreamDropped

LISTEN_BACKLOG = 1024
"""Incoming streams that may wait for this process to accept them."""

CONTROL_TIMEOUT_S = 10.0
"""Seconds for a call that only asks the daemon itself."""

_SOCKET_ERRORS = (OSError, asyncio.IncompleteReadError)


class AttachedP2P(P2P):  # type: ignore[misc]  # -- hivemind has no type annotations
    """The persistent connection to a running daemon, and the socket to which it brings incoming streams."""

    _server: asyncio.AbstractServer | None = None
    _incoming: set[asyncio.Task[None]]

    @classmethod
    async def attach(cls, control_socket: Path, listen_socket: Path, *, max_message_bytes: int) -> "AttachedP2P":
        """Connect to the daemon at ``control_socket``; incoming streams arrive at ``listen_socket``.

        Raises:
            MeshUnavailable: the daemon does not answer.
        """
        self = cls()
        self._alive = True
        self._incoming = set()
        self._daemon_listen_maddr = Multiaddr(f"/unix{control_socket}")
        self._client_listen_maddr = Multiaddr(f"/unix{listen_socket}")
        try:
            async with asyncio.timeout(CONTROL_TIMEOUT_S):
                self._client = await Client.create(
                    control_maddr=self._daemon_listen_maddr,
                    listen_maddr=self._client_listen_maddr,
                    persistent_conn_max_msg_size=max_message_bytes,
                )
                for task in (self._control._read_task, self._control._write_task):  # noqa: SLF001 -- as above
                    task.add_done_callback(lambda done: done.cancelled() or done.exception())
                await self._ping_daemon()
        except (*_SOCKET_ERRORS, TimeoutError) as error:
            raise MeshUnavailable("p2pd was started but does not answer on its socket.") from error
        self._server = await asyncio.start_unix_server(
            self._accept_stream,
            path=str(listen_socket),
            backlog=LISTEN_BACKLOG,
        )
        return self

    @property
    def _control(self) -> Any:
        return self._client.control

    def _accept_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve an incoming stream. Not a coroutine: one that is cancelled before its first step closes nothing."""
        task = asyncio.create_task(self._serve_stream(reader, writer))
        self._incoming.add(task)

        def end(done: asyncio.Task[None]) -> None:
            self._incoming.discard(done)
            if done.cancelled():
                writer.transport.abort()

        task.add_done_callback(end)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let hivemind read the stream's header and call the handler; a cut header is no stream."""
        try:
            await self._control._handler(reader, writer)  # noqa: SLF001 -- there is no public way
        except _SOCKET_ERRORS:
            writer.transport.abort()

    async def add_binary_stream_handler(self, name: str, handler: Any, balanced: bool = False) -> None:
        """Register a handler; the socket is open already, so no stream can come too early.

        Raises:
            PeerUnreachable: p2pd refuses, or does not answer.
        """
        self._control.handlers[name] = handler
        request = p2pd_pb2.Request(
            type=p2pd_pb2.Request.STREAM_HANDLER,
            streamHandler=p2pd_pb2.StreamHandlerRequest(
                addr=self._client_listen_maddr.to_bytes(), proto=[name], balanced=balanced
            ),
        )
        _, _, writer = await self._call(request, CONTROL_TIMEOUT_S)
        await _close(writer)

    async def open(
        self, peer: PeerID, protocol: str, timeout_s: float
    ) -> tuple[StreamInfo, asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream.

        Raises:
            PeerUnreachable: with libp2p's reason, or after ``timeout_s`` seconds.
        """
        request = p2pd_pb2.Request(
            type=p2pd_pb2.Request.STREAM_OPEN,
            streamOpen=p2pd_pb2.StreamOpenRequest(
                peer=peer.to_bytes(), proto=[protocol], timeout=max(1, math.ceil(timeout_s))
            ),
        )
        response, reader, writer = await self._call(request, timeout_s)
        return StreamInfo.from_protobuf(response.streamInfo), reader, writer

    async def dial(self, peer: PeerID, addresses: Sequence[str], timeout_s: float) -> None:
        """Connect to a peer; without effect if there is a connection.

        Raises:
            PeerUnreachable: with libp2p's reason, or after ``timeout_s`` seconds.
        """
        try:
            encoded = [Multiaddr(address).to_bytes() for address in addresses]
        except ValueError as error:
            raise PeerUnreachable(f"A peer's address cannot be read: {error}") from error
        request = p2pd_pb2.Request(
            type=p2pd_pb2.Request.CONNECT,
            connect=p2pd_pb2.ConnectRequest(peer=peer.to_bytes(), addrs=encoded, timeout=max(1, math.ceil(timeout_s))),
        )
        _, _, writer = await self._call(request, timeout_s)
        await _close(writer)

    async def disconnect(self, peer: PeerID) -> None:
        """Close all connections to a peer, with all streams on them.

        Raises:
            PeerUnreachable: p2pd refuses, or does not answer.
        """
        request = p2pd_pb2.Request(
            type=p2pd_pb2.Request.DISCONNECT, disconnect=p2pd_pb2.DisconnectRequest(peer=peer.to_bytes())
        )
        _, _, writer = await self._call(request, CONTROL_TIMEOUT_S)
        await _close(writer)

    async def peers(self) -> list[tuple[PeerID, str]]:
        """Return the open connections: peer and remote address each."""
        request = p2pd_pb2.Request(type=p2pd_pb2.Request.LIST_PEERS)
        response, _, writer = await self._call(request, CONTROL_TIMEOUT_S)
        await _close(writer)
        return [(PeerID(peer.id), address_text(address)) for peer in response.peers for address in peer.addrs]

    async def listen_addresses(self) -> list[str]:
        """Return the multiaddrs at which the daemon believes to be reachable, without ``/p2p/…``."""
        request = p2pd_pb2.Request(type=p2pd_pb2.Request.IDENTIFY)
        response, _, writer = await self._call(request, CONTROL_TIMEOUT_S)
        await _close(writer)
        return [text for address in response.identify.addrs if (text := address_text(address))]

    def forget_finished_calls(self) -> None:
        """Drop what hivemind remembers of calls that the caller cancelled, which it never does itself."""
        tasks = self._control._handler_tasks  # noqa: SLF001 -- there is no public way
        for call_id in [call_id for call_id, task in tasks.items() if task.done()]:
            del tasks[call_id]

    async def detach(self) -> None:
        """Close the sockets; calls under way fail at once instead of waiting for a dead daemon."""
        if self._server is not None:
            self._server.close()
        for pending in self._control._pending_calls.values():  # noqa: SLF001 -- hivemind leaves them waiting
            if not pending.done():
                pending.set_exception(P2PDaemonError("p2pd is gone"))
        calls = self._control._handler_tasks.values()  # noqa: SLF001 -- to await their end
        tasks = [self._control._read_task, self._control._write_task, *calls]  # noqa: SLF001 -- likewise
        tasks += self._incoming
        self._terminate()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, request: Any, timeout_s: float) -> tuple[Any, asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(self._daemon_listen_maddr["unix"])
                try:
                    writer.write(framed(request))
                    response = p2pd_pb2.Response()
                    await read_pbmsg_safe(reader, response)
                    if response.type == p2pd_pb2.Response.ERROR:
                        raise _unreachable(response.error.msg)
                except BaseException:
                    writer.transport.abort()
                    raise
        except TimeoutError as error:
            raise PeerUnreachable(f"p2pd gave no answer within {timeout_s:.1f} s.") from error
        except _SOCKET_ERRORS as error:
            raise StreamDropped("The connection to p2pd was lost.") from error
        return response, reader, writer


def framed(message: Any) -> bytes:
    """Return a message behind its length, to be sent at once: hivemind's writer makes a system call for each part."""
    framed = io.BytesIO()
    serialize_length_prefixed(message, framed)
    return framed.getvalue()


def address_text(address: Any) -> str:
    """Return a multiaddr (or its bytes) as text; empty if hivemind's parser does not know a protocol in it."""
    try:
        return str(Multiaddr(address) if isinstance(address, bytes) else address)
    except (ValueError, TypeError):
        return ""


def _unreachable(message: str) -> PeerUnreachable:
    dropped = "stream reset" in message or message.endswith("EOF")
    return (StreamDropped if dropped else PeerUnreachable)(f"libp2p: {message[:500]}")


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()

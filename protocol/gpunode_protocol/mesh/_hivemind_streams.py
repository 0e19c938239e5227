"""Streams: opening them through a gate, and the two-way byte stream itself."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh._hivemind_api import StreamInfo
from gpunode_protocol.mesh._hivemind_attach import address_text
from gpunode_protocol.mesh.errors import PeerUnreachable
from gpunode_protocol.mesh.interface import StreamHandler
from gpunode_protocol.mesh.multiaddrs import origin_of
from gpunode_protocol.mesh.stream_limits import StreamLimits, Verdict

_log = logging.getLogger(__name__)

MAX_OPENS_IN_FLIGHT = 64
"""More than about 100 at once are dropped silently by the receiving side's socket backlog (facts, trap 3)."""

DEAD_STREAM_RETRIES = 2
DEAD_STREAM_WINDOW_S = 2.0
"""A stream that ends this soon after its opening, without a byte, was dropped on the way: open it again."""

MAX_REPLAY_BYTES = 64 * 1024
"""What was written is sent again over the new stream, if it was no more than this."""

RETRY_DELAY_S = (0.02, 0.2)

LINGER_S = 2.0
"""p2pd resets a stream when either side closes it, and what the other side has not read by then is lost (measured: one
short answer in three). So whoever served a stream and spoke last waits this long for the other side to close first."""

_CLOSE_TIMEOUT_S = 5.0

OpenedStream = tuple[StreamInfo, asyncio.StreamReader, asyncio.StreamWriter]


async def retry_delay() -> None:
    """Wait a random moment, so that dropped streams do not come back all at once."""
    await asyncio.sleep(random.uniform(*RETRY_DELAY_S))  # noqa: S311 -- jitter


class HivemindStream:
    """A raw libp2p stream; see ``MeshStream``.

    Args:
        opened: what p2pd gave.
        reopen: opens the same stream again; None for incoming streams.
    """

    def __init__(self, opened: OpenedStream, reopen: Callable[[], Awaitable[OpenedStream]] | None = None) -> None:
        info, self._reader, self._writer = opened
        self.remote_peer_id = PeerId(info.peer_id.to_base58())
        self.remote_address = address_text(info.addr)
        self._reopen = reopen
        self._retries_left = DEAD_STREAM_RETRIES if reopen else 0
        self._written = b""  # for sending again, until the first byte arrives
        self._opened_at_s = asyncio.get_running_loop().time()
        self._closed = False
        self._spoke_last = False
        self._lock = asyncio.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether this side has closed it."""
        return self._closed

    @property
    def unsent_bytes(self) -> int:
        """Bytes written that have not left this process."""
        return self._writer.transport.get_write_buffer_size()

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes; ``b""`` at the end."""
        while True:
            data = await self._read_once(max_bytes)
            self._spoke_last = False
            if data:
                self._give_up_replaying()
                return data
            if self._closed or not self._may_retry() or not await self._open_again():
                return b""

    async def write(self, data: bytes) -> None:
        """Send one frame, and wait while the other side is too slow."""
        if self._closed:
            raise PeerUnreachable("The stream is closed.")
        async with self._lock:
            if self._retries_left:
                self._written += data
                if len(self._written) > MAX_REPLAY_BYTES:
                    self._give_up_replaying()
            try:
                self._writer.write(data)
                await self._writer.drain()
                self._spoke_last = True
            except OSError as error:
                if not self._may_retry():  # otherwise read() finds the end and sends it again
                    raise PeerUnreachable("The stream was cut.") from error

    async def close(self) -> None:
        """Send what is left, let the other side read it, and end the stream."""
        if self._closed:
            return
        self._closed = True
        await self._linger()
        self._writer.close()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()
        except TimeoutError:
            self._writer.transport.abort()
        except OSError:
            pass

    def abort(self) -> None:
        """End the stream at once."""
        self._closed = True
        self._writer.transport.abort()

    async def _linger(self) -> None:
        """Wait for the other side's end after the last words of this one; not when the task is being ended."""
        task = asyncio.current_task()
        if self._reopen is not None or not self._spoke_last or (task is not None and task.cancelling()):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self._read_once(65536):
                    pass

    async def _read_once(self, max_bytes: int) -> bytes:
        try:
            return await self._reader.read(max_bytes)
        except OSError:
            return b""

    def _may_retry(self) -> bool:
        age_s = asyncio.get_running_loop().time() - self._opened_at_s
        return self._retries_left > 0 and age_s < DEAD_STREAM_WINDOW_S

    def _give_up_replaying(self) -> None:
        self._retries_left = 0
        self._written = b""

    async def _open_again(self) -> bool:
        self._retries_left -= 1
        await retry_delay()
        async with self._lock:
            if self._reopen is None or self._closed:
                return False
            try:
                opened = await self._reopen()
            except PeerUnreachable:
                self._give_up_replaying()
                return False
            self._writer.transport.abort()
            _, self._reader, self._writer = opened
            self._opened_at_s = asyncio.get_running_loop().time()
            with contextlib.suppress(OSError):
                self._writer.write(self._written)
                await self._writer.drain()
            return True


class IncomingStreams:
    """The incoming streams being served, within limits.

    Args:
        limits: judges each.
        disconnect: closes all connections to a peer.
    """

    def __init__(self, limits: StreamLimits, disconnect: Callable[[PeerId], Awaitable[None]]) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._limits = limits
        self._disconnect = disconnect
        self._stopping = False

    def served_by(self, handler: StreamHandler) -> Callable[..., Awaitable[None]]:
        """Return the callback for hivemind that serves a stream with ``handler`` and then closes it."""

        async def serve(info: StreamInfo, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            stream = HivemindStream((info, reader, writer))
            peer, task = stream.remote_peer_id, asyncio.current_task()
            origin = origin_of(stream.remote_address, peer)
            verdict = self._limits.enter(peer, origin)
            if task is None or verdict is not Verdict.SERVE:
                stream.abort()
                if verdict is Verdict.DISCONNECT:
                    _log.warning("%s floods: disconnected", peer, extra={"event": "peer_disconnected", "peer": peer})
                    await self._disconnect(peer)
                return
            self._tasks.add(task)
            try:
                await handler(stream)
            except asyncio.CancelledError:
                if not self._stopping:  # asyncio's stream server reports a cancelled callback as an error
                    raise
            except (GpunodeError, OSError) as error:
                _log.info("stream of %s ended: %s", peer, error, extra={"event": "stream_ended"})
            except Exception:  # noqa: BLE001 -- a handler's bug must not look like a crash of the mesh
                _log.exception("serving a stream of %s failed", peer, extra={"event": "stream_failed"})
            finally:
                self._tasks.discard(task)
                self._limits.leave(peer, origin)
                await stream.close()

        return serve

    async def stop(self) -> None:
        """Cancel what is being served."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stopping = False

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.mesh import MeshStream, PeerUnreachable, _hivemind_streams, stream_limits
from gpunode_protocol.mesh._hivemind_api import Multiaddr, PeerID, StreamInfo
from gpunode_protocol.mesh._hivemind_streams import (
    MAX_REPLAY_BYTES,
    HivemindStream,
    IncomingStreams,
    OpenedStream,
)
from gpunode_protocol.mesh.stream_limits import StreamLimits

REMOTE = PeerID.from_base58(Identity.from_seed(bytes(32)).peer_id)
INFO = StreamInfo(REMOTE, Multiaddr("/ip4/192.0.2.1/tcp/4001"), "/test")
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


class Sockets:
    """Unix socket pairs: the near end as p2pd would give it, the far end served by a test's function."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._count = 0
        self.serving: set[asyncio.Task[Any]] = set()

    async def served_by(self, serve: Serve) -> Callable[[], Any]:
        """Return a function that opens a connection to ``serve``."""
        self._count += 1
        path = self._folder / f"{self._count}.sock"

        async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self.serving.add(task)
            await serve(reader, writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        await self._stack.enter_async_context(await asyncio.start_unix_server(serve_and_close, path=str(path)))

        async def open_connection() -> OpenedStream:
            reader, writer = await asyncio.open_unix_connection(str(path))
            self._stack.callback(writer.close)
            return INFO, reader, writer

        return open_connection


@pytest.fixture
async def sockets() -> AsyncIterator[Sockets]:
    """Sockets that end with the test."""
    from gpunode_protocol.mesh.runtime_dir import RuntimeDir, default_parents

    directory = RuntimeDir.create(default_parents(None))
    async with AsyncExitStack() as stack:
        pairs = Sockets(stack, directory.path)
        yield pairs
    await asyncio.gather(*pairs.serving, return_exceptions=True)
    directory.remove()


@pytest.fixture(autouse=True)
def _short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams whose other side a test forgets end with the test."""
    monkeypatch.setattr(_hivemind_streams, "LINGER_S", 0.01)


async def _stay(_: PeerId) -> None:
    """Nobody is disconnected here."""
    raise AssertionError


def incoming_streams(**limits: int) -> IncomingStreams:
    """Return streams within changed limits."""
    return IncomingStreams(StreamLimits(lambda: 0.0, **limits), _stay)


async def drop(*_: object) -> None:
    """A stream that is dead on arrival."""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def test_stream_names_its_peer_and_echoes(sockets: Sockets) -> None:
    """The plain case."""
    stream = HivemindStream(await (await sockets.served_by(echo))())
    await stream.write(b"frame")
    assert await stream.read() == b"frame"
    assert (stream.remote_peer_id, stream.remote_address) == (REMOTE.to_base58(), "/ip4/192.0.2.1/tcp/4001")
    await stream.close()
    await stream.close()
    with pytest.raises(PeerUnreachable):
        await stream.write(b"late")


async def test_dead_stream_is_opened_again_and_repeats_what_was_written(sockets: Sockets) -> None:
    """A stream dropped by the other side's backlog costs a moment, not the request."""
    dead, alive = await sockets.served_by(drop), await sockets.served_by(echo)
    stream = HivemindStream(await dead(), reopen=alive)
    await stream.write(b"one ")
    await stream.write(b"two")
    received = b""
    while len(received) < 7:
        received += await stream.read()
    assert received == b"one two"
    await stream.close()


async def test_stream_that_stays_dead_ends(sockets: Sockets) -> None:
    """After two more attempts, the end is the end."""
    attempts = 0
    dead = await sockets.served_by(drop)

    async def reopen() -> OpenedStream:
        nonlocal attempts
        attempts += 1
        opened: OpenedStream = await dead()
        return opened

    stream = HivemindStream(await dead(), reopen=reopen)
    assert await stream.read() == b""
    assert attempts == 2
    await stream.close()


async def test_unreachable_peer_ends_the_retries(sockets: Sockets) -> None:
    """A peer that has died is not waited for."""

    async def reopen() -> OpenedStream:
        raise PeerUnreachable

    stream = HivemindStream(await (await sockets.served_by(drop))(), reopen=reopen)
    assert await stream.read() == b""
    await stream.close()


async def test_stream_that_has_answered_is_never_replayed(sockets: Sockets) -> None:
    """Once a byte has come, a cut is a cut: nothing is sent twice."""

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        await writer.drain()

    async def reopen() -> OpenedStream:
        raise AssertionError("opened again")

    stream = HivemindStream(await (await sockets.served_by(answer_once))(), reopen=reopen)
    await stream.write(b"x")
    assert [await stream.read(), await stream.read()] == [b"x", b""]
    await stream.close()


async def test_large_request_is_not_replayed(sockets: Sockets) -> None:
    """What does not fit the replay buffer is not kept."""

    async def reopen() -> OpenedStream:
        raise AssertionError("opened again")

    async def swallow(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readexactly(MAX_REPLAY_BYTES + 1)

    stream = HivemindStream(await (await sockets.served_by(swallow))(), reopen=reopen)
    await stream.write(bytes(MAX_REPLAY_BYTES + 1))
    assert await stream.read() == b""
    await stream.close()


async def test_slow_consumer_shows_in_unsent_bytes(sockets: Sockets) -> None:
    """A reader that does not read makes write() wait, and the caller can see how much is unsent."""
    release = asyncio.Event()

    async def wait(*_: object) -> None:
        await release.wait()

    stream = HivemindStream(await (await sockets.served_by(wait))())

    async def flood() -> None:
        while True:
            await stream.write(bytes(64 * 1024))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flood(), 0.2)
    assert stream.unsent_bytes > 0
    stream.abort()
    release.set()


async def incoming(sockets: Sockets, streams: IncomingStreams, handler: Any) -> Callable[[], Any]:
    """Return a function that opens a stream to a mesh handler."""
    callback = streams.served_by(handler)
    return await sockets.served_by(lambda reader, writer: callback(INFO, reader, writer))


async def test_handler_serves_and_the_stream_is_closed(sockets: Sockets) -> None:
    """Whoever returns from its handler has finished with the stream."""

    async def ignore(_: MeshStream) -> None:
        pass

    _, reader, _ = await (await incoming(sockets, incoming_streams(), ignore))()
    assert await reader.read() == b""


async def test_failing_handler_ends_its_stream_only(sockets: Sockets, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a handler is logged with its traceback, and the mesh goes on."""

    async def fail(_: MeshStream) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR):
        _, reader, _ = await (await incoming(sockets, incoming_streams(), fail))()
        assert await reader.read() == b""
    assert "ZeroDivisionError" in caplog.text


async def test_one_peer_has_a_limit_of_streams(sockets: Sockets) -> None:
    """Further streams are cut at once; when others end there is room again."""
    streams, release = incoming_streams(max_per_peer=3), asyncio.Event()

    async def hold(stream: MeshStream) -> None:
        await stream.write(b"held")
        await release.wait()

    open_one = await incoming(sockets, streams, hold)
    held = [await open_one() for _ in range(3)]
    assert {await reader.read(4) for _, reader, _ in held} == {b"held"}
    _, reader, _ = await open_one()
    assert await reader.read(4) == b""
    release.set()
    assert {await reader.read() for _, reader, _ in held} == {b""}
    _, reader, _ = await open_one()
    assert await reader.read(4) == b"held"


async def test_a_flooder_is_disconnected(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting streams one by one comes to an end."""
    monkeypatch.setattr(stream_limits, "CUTS_BURST", 1.0)
    disconnected: list[str] = []

    async def disconnect(peer: PeerId) -> None:
        disconnected.append(peer)

    streams = IncomingStreams(StreamLimits(lambda: 0.0, max_per_peer=0), disconnect)
    open_one = await incoming(sockets, streams, _unserved)
    for _ in range(3):
        _, reader, _ = await open_one()
        assert await reader.read() == b""
    assert disconnected == [REMOTE.to_base58()]


async def _unserved(_: MeshStream) -> None:
    raise AssertionError


async def test_stop_cancels_what_is_served(sockets: Sockets) -> None:
    """No handler outlives the mesh."""
    streams, cancelled = incoming_streams(), asyncio.Event()

    async def hold(stream: MeshStream) -> None:
        await stream.write(b"held")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    _, reader, _ = await (await incoming(sockets, streams, hold))()
    await reader.read(4)
    await streams.stop()
    assert cancelled.is_set()


async def test_whoever_served_and_spoke_last_closes_last(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said last can be read before the stream ends: the other side closes first."""
    monkeypatch.setattr(_hivemind_streams, "LINGER_S", 30.0)
    answered, closed = asyncio.Event(), asyncio.Event()

    async def answer(stream: MeshStream) -> None:
        assert await stream.read()
        await stream.write(b"no")
        answered.set()
        await stream.close()
        closed.set()

    _, reader, writer = await (await incoming(sockets, incoming_streams(), answer))()
    writer.write(b"?")
    await answered.wait()
    assert await reader.read(2) == b"no"
    assert not closed.is_set()
    writer.close()
    await closed.wait()


async def test_whoever_served_and_heard_last_closes_at_once(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side then knows that its last words were read."""
    monkeypatch.setattr(_hivemind_streams, "LINGER_S", 30.0)

    async def listen(stream: MeshStream) -> None:
        await stream.write(b"?")
        assert await stream.read() == b"yes"

    _, reader, writer = await (await incoming(sockets, incoming_streams(), listen))()
    assert await reader.read(1) == b"?"
    writer.write(b"yes")
    async with asyncio.timeout(15):
        assert await reader.read() == b""


async def test_a_silent_other_side_is_not_waited_for_for_long(sockets: Sockets) -> None:
    """A client that does not close holds its stream only so long."""

    async def greet(stream: MeshStream) -> None:
        await stream.write(b"hello")

    _, reader, _ = await (await incoming(sockets, incoming_streams(), greet))()
    assert await reader.read() == b"hello"

"""Server-sent events to readers of every kind."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from gpunode_tracker.handlers import event_stream
from gpunode_tracker.handlers.event_stream import EventStream

MIB = 1024 * 1024
Served = tuple["Streaming", str, ClientSession]


class Streaming:
    """A server that streams large events until they do not get away any more."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.sent = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Stream."""
        stream = EventStream(request)
        await stream.open()
        await stream.comment()
        while self.sent < 10_000 and await stream.send("tokens", {"text": "x" * MIB}):
            self.sent += 1
        self.ended.set()
        return stream.response


@pytest.fixture
async def streaming() -> AsyncIterator[Served]:
    """The server, which lets handlers go on whose clients have left as the tracker does, its URL, and a client."""
    streaming = Streaming()
    app = web.Application()
    app.router.add_get("/", streaming.serve)
    runner = web.AppRunner(app, handler_cancellation=False, shutdown_timeout=0.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with ClientSession() as client:
        yield streaming, f"http://{host}:{port}/", client
    await runner.cleanup()


async def test_the_form_of_events(streaming: Served) -> None:
    """Comments begin with a colon, an event has a name and one line of JSON; no cache and no proxy keeps it."""
    _, url, client = streaming
    response = await client.get(url)
    assert response.content_type == "text/event-stream"
    assert (response.headers["Cache-Control"], response.headers["X-Accel-Buffering"]) == ("no-store", "no")
    lines = [await response.content.readline() for _ in range(3)]
    assert lines == [b": nothing new\n", b"\n", b"event: tokens\n"]
    response.close()


async def test_a_slow_reader_is_cut(streaming: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it in memory is bounded, and it ends."""
    monkeypatch.setattr(event_stream, "SLOW_READER_S", 0.05)
    server, url, client = streaming
    response = await client.get(url)
    async with asyncio.timeout(30):
        await server.ended.wait()
    assert server.sent < 64  # what fits into the sockets' buffers, not ten thousand
    with pytest.raises(ClientPayloadError):
        await response.read()


async def test_a_reader_that_leaves(streaming: Served) -> None:
    """Ends the stream, and is no failure."""
    server, url, client = streaming
    response = await client.get(url)
    response.close()
    async with asyncio.timeout(30):
        await server.ended.wait()
    assert server.sent < 64

"""Accepting connections."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from gpunode_tracker import listener
from gpunode_tracker.connection_book import ConnectionBook
from gpunode_tracker.errors import InvalidSettings
from gpunode_tracker.limits import Limits
from gpunode_tracker.listener import Listener

from tests.tracker.certificates import self_signed

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Site:
    """A listener that serves "hello" and counts what it refuses."""

    def __init__(self, limits: Limits, tls: ssl.SSLContext | None) -> None:
        self.refused = 0
        self.book = ConnectionBook(limits, ())
        self.http = web.Server(self._answer, access_log=None, lingering_time=0)
        self.listener = Listener(self.http, self.book, age_s=60, tls=tls, on_refused=self._count)
        self.port = 0

    async def _answer(self, _: web.BaseRequest) -> web.Response:
        return web.Response(text="hello")

    def _count(self) -> None:
        self.refused += 1

    async def connect(self, address: str, tls: ssl.SSLContext | None = None) -> Streams:
        """Connect from an address of loopback."""
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0), ssl=tls)

    async def wait_open(self, count: int) -> None:
        """Wait until so many connections are counted."""
        while len(self.book) != count:  # noqa: ASYNC110 -- the book knows of no events
            await asyncio.sleep(0)


@asynccontextmanager
async def _site(limits: Limits, tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    site = Site(limits, tls)
    site.port = await site.listener.start("127.0.0.1", 0)
    try:
        yield site
    finally:
        await site.listener.stop()
        await site.http.shutdown(1)


async def _ask(streams: Streams) -> bytes:
    """Send a request and return the status line."""
    reader, writer = streams
    writer.write(REQUEST)
    return await reader.readline()


async def _close(*connections: Streams) -> None:
    for _, writer in connections:
        writer.close()
        try:
            await writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            continue


async def test_one_address_does_not_take_the_others_connections() -> None:
    """Beyond its share it gets 429 and an end, even without a request; another is served, and ends make room."""
    async with _site(Limits(connections_per_address=2)) as site:
        held = [await site.connect("127.0.0.2") for _ in range(2)]
        refused = await site.connect("127.0.0.2")
        answer = await refused[0].read()
        assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nRetry-After: 30\r\n" in answer
        assert re.search(rb"\r\nX-Request-ID: [0-9a-f]{16}\r\n", answer)
        assert answer.endswith(b'"code":"too_many_connections"}')
        assert site.refused == 1
        other = await site.connect("127.0.0.3")
        assert await _ask(other) == b"HTTP/1.1 200 OK\r\n"
        assert await _ask(held[0]) == b"HTTP/1.1 200 OK\r\n"
        await _close(held[0], refused)
        await site.wait_open(2)
        again = await site.connect("127.0.0.2")
        assert await _ask(again) == b"HTTP/1.1 200 OK\r\n"
        await _close(held[1], other, again)
        await site.wait_open(0)


async def test_tls_that_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such connections count from the first moment, and end soon; what is no TLS ends at once."""
    monkeypatch.setattr(listener, "HANDSHAKE_TIMEOUT_S", 0.05)
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with _site(Limits(connections_per_address=1), context) as site:
        silent = await site.connect("127.0.0.2")
        await site.wait_open(1)
        refused = await site.connect("127.0.0.2")
        assert await _read(refused) == b""
        assert site.refused == 1
        await site.wait_open(0)
        noise = await site.connect("127.0.0.2")
        noise[1].write(b"no TLS\r\n" * 10)
        await site.wait_open(0)
        sound = await site.connect("127.0.0.2", trusting)
        assert await _ask(sound) == b"HTTP/1.1 200 OK\r\n"
        await _close(silent, refused, noise, sound)
        await site.wait_open(0)


async def _read(streams: Streams) -> bytes:
    try:
        return await streams[0].read()
    except ConnectionError:
        return b""


async def test_an_address_that_is_taken_or_not_ours() -> None:
    """The message names it, and what to do."""
    made = Listener(
        web.Server(Site(Limits(), None)._answer),
        ConnectionBook(Limits(), ()),
        age_s=1,
        tls=None,
        on_refused=lambda: None,
    )
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InvalidSettings, match=f"cannot listen on 127.0.0.1:{port} .*in use.*--listen"):
            await made.start("127.0.0.1", port)
    with pytest.raises(InvalidSettings, match=r"cannot listen on 192\.0\.2\.1:1 .*--listen"):
        await made.start("192.0.2.1", 1)

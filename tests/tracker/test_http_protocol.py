"""What is no HTTP is answered like all else."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from functools import partial

import pytest
from aiohttp import web
from gpunode_tracker.http_protocol import MAX_HEADER_BYTES, MAX_HEADERS, MAX_LINE_BYTES, HttpProtocol

SECRET = "gpn_0FdyvKPZWVfwnAdbe2J9cw-QWIG4y93MM5Aue8D6FhU"
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


class Site:
    """A server behind the protocol, which counts what it could not read."""

    def __init__(self) -> None:
        self.port = 0
        self.unreadable = 0
        self.failure: Exception | None = None

    def count(self) -> None:
        """Count one."""
        self.unreadable += 1

    async def answer(self, _: web.BaseRequest) -> web.Response:
        """Say hello, or fail as told."""
        if self.failure is not None:
            raise self.failure
        return web.Response(text="hello")

    async def ask(self, request: bytes) -> tuple[str, dict[str, str], str]:
        """Send bytes; return the status line, the headers and the body of the answer, after which nothing comes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        status, *lines = head.split("\r\n")
        return status, dict(line.split(": ", 1) for line in lines), body


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """The server on loopback."""
    site = Site()
    server = web.Server(site.answer)
    loop = asyncio.get_running_loop()
    make = partial(HttpProtocol, server, site.count, loop=loop, access_log=None, lingering_time=0)
    listening = await loop.create_server(make, "127.0.0.1", 0)
    site.port = listening.sockets[0].getsockname()[1]
    yield site
    listening.close()
    await server.shutdown(1)
    await listening.wait_closed()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"G\x01T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",  # TLS
        HEAD + b"A b: c\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + f"Authorization: Bearer {SECRET}\x00\r\n\r\n".encode(),
    ],
)
async def test_what_cannot_be_read(site: Site, request_bytes: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A problem with an id of its own, which repeats nothing; it is counted, and the connection ends."""
    caplog.set_level(logging.DEBUG)
    first, second = await site.ask(request_bytes), await site.ask(request_bytes)
    for status, headers, body in (first, second):
        assert status.endswith(" 400 Bad Request")
        assert headers["Content-Type"].startswith("application/problem+json")
        assert (headers["X-Content-Type-Options"], headers["Content-Length"]) == ("nosniff", str(len(body)))
        problem = json.loads(body)
        assert (problem["status"], problem["code"]) == (400, "bad_request")
        assert "no HTTP request that can be read" in problem["detail"]
        assert SECRET not in body
    assert first[1]["X-Request-ID"] != second[1]["X-Request-ID"]
    assert site.unreadable == 2
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"x" * MAX_LINE_BYTES + b" HTTP/1.1\r\n\r\n",
        HEAD + b"A: " + b"x" * (MAX_HEADER_BYTES + 10) + b"\r\n\r\n",
    ],
)
async def test_what_is_too_long(site: Site, request_bytes: bytes) -> None:
    """The limits are named."""
    status, _, body = await site.ask(request_bytes)
    assert status.endswith(" 400 Bad Request")
    detail = json.loads(body)["detail"]
    assert "4,096 bytes" in detail
    assert "48 headers 2,048" in detail


async def test_too_many_headers(site: Site) -> None:
    """Are not read either."""
    headers = b"".join(b"A%d: b\r\n" % number for number in range(MAX_HEADERS + 1))
    status, _, body = await site.ask(HEAD + headers + b"\r\n")
    assert status.endswith(" 400 Bad Request")
    assert json.loads(body)["code"] == "bad_request"


async def test_targets_without_a_path(site: Site) -> None:
    """aiohttp refuses them before all handlers; its words are not ours."""
    site.failure = web.HTTPNotFound()
    status, headers, body = await site.ask(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status.endswith(" 400 Bad Request")
    assert (json.loads(body)["code"], site.unreadable) == ("bad_request", 1)
    assert "has no path" in json.loads(body)["detail"]
    assert headers["X-Request-ID"]


async def test_a_failure_beside_all_handlers(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Is opaque outside, and stands in the log."""
    site.failure = RuntimeError("out of luck")
    status, headers, body = await site.ask(HEAD + b"\r\n")
    assert status.endswith(" 500 Internal Server Error")
    assert json.loads(body)["code"] == "internal"
    assert headers["X-Request-ID"]
    assert "out of luck" not in body
    assert "out of luck" in caplog.text


async def test_requests_that_can_be_read(site: Site) -> None:
    """Are served."""
    status, _, body = await site.ask(HEAD + b"Connection: close\r\n\r\n")
    assert (status, body, site.unreadable) == ("HTTP/1.1 200 OK", "hello", 0)

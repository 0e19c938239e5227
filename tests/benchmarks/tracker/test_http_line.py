import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.http_line import Address, HttpLine, http_line, read_head, request_bytes

LARGE = b"x" * 1_000_000


async def _echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read() + request.headers["X-Key"].encode())


async def _large(_request: web.Request) -> web.Response:
    return web.Response(body=LARGE)


async def _no_content(_request: web.Request) -> web.Response:
    return web.Response(status=204)


async def _hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest_asyncio.fixture
async def line() -> AsyncIterator[HttpLine]:
    """A line to a server of some paths."""
    app = web.Application()
    app.add_routes([web.post("/echo", _echo), web.get("/large", _large), web.get("/none", _no_content)])
    app.add_routes([web.get("/hang-up", _hang_up)])
    async with (
        TestServer(app) as server,
        http_line(Address.of_url(f"http://{server.host}:{server.port}")) as opened,
    ):
        yield opened


async def test_requests_go_one_after_the_other(line: HttpLine) -> None:
    """Over one connection, with headers and bodies."""
    assert await line.ask(request_bytes("POST", "/echo", b"body ", X_Key="key")) == b"body key"
    assert await line.ask(request_bytes("GET", "/none")) == b""
    assert await line.ask(request_bytes("POST", "/echo", X_Key="again")) == b"again"


async def test_an_answer_in_many_pieces(line: HttpLine) -> None:
    """It is whole before it counts."""
    assert await line.ask(request_bytes("GET", "/large")) == LARGE


async def test_a_request_again_and_again(line: HttpLine) -> None:
    """Once where the time is over already, many times else; then the line can be used as before."""
    request = request_bytes("GET", "/none")
    assert await line.ask_until(request, time.perf_counter()) == 1
    assert await line.ask_until(request, time.perf_counter() + 0.05) > 1
    assert await line.ask(request) == b""


async def test_a_refusal_is_told(line: HttpLine) -> None:
    """With its status: a bench must not count errors."""
    with pytest.raises(BenchmarkFailed, match="404"):
        await line.ask(request_bytes("GET", "/nowhere"))


async def test_a_lost_connection_is_told(line: HttpLine) -> None:
    """In the middle of a request, and before one."""
    for _ in range(2):
        with pytest.raises(BenchmarkFailed, match="closed"):
            await line.ask(request_bytes("GET", "/hang-up"))


@pytest.mark.parametrize(
    ("head", "read"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX: y", (200, 12)),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length:7", (404, 7)),
        (b"HTTP/1.1 204 No Content", (204, 0)),
    ],
)
def test_heads(head: bytes, read: tuple[int, int]) -> None:
    """Names of headers are of any case."""
    assert read_head(head) == read


def test_an_answer_without_a_length() -> None:
    """Nothing here sends one in chunks."""
    with pytest.raises(ValueError, match="Content-Length"):
        read_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")

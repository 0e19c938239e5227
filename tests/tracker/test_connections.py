"""One accepted connection, with aiohttp behind it, over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from gpunode_tracker.connections import Connection

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
MUCH = b"x" * 8_000_000


@asynccontextmanager
async def _served(
    *, age_s: float = 60.0, write_timeout_s: float = 60.0
) -> AsyncIterator[tuple[Callable[[], socket.socket], asyncio.Queue[None]]]:
    """Serve much with ``Connection``; yield what makes a client's socket, and a queue that gets every end."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=MUCH)

    ends: asyncio.Queue[None] = asyncio.Queue()
    http = web.Server(answer, access_log=None)

    def make() -> Connection:
        return Connection(http, age_s=age_s, write_timeout_s=write_timeout_s, on_end=lambda: ends.put_nowait(None))

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        client = socket.create_connection(address)
        client.setblocking(False)
        opened.append(client)
        return client

    try:
        yield connect, ends
    finally:
        for client in opened:
            client.close()
        server.close()
        await server.wait_closed()
        await http.shutdown(1)


async def _receive(client: socket.socket, count: int) -> int:
    """Read up to so many bytes; fewer = the connection has ended."""
    received = 0
    while received < count:
        try:
            data = await asyncio.get_running_loop().sock_recv(client, 1_000_000)
        except ConnectionError:
            break
        if not data:
            break
        received += len(data)
    return received


async def test_who_reads_gets_everything() -> None:
    """Answers larger than all buffers arrive, also on a connection that is used again."""
    async with _served(write_timeout_s=20) as (connect, ends):
        client = connect()
        for _ in range(2):
            await asyncio.get_running_loop().sock_sendall(client, REQUEST)
            assert await _receive(client, len(MUCH)) >= len(MUCH)
        assert ends.empty()
        client.close()
        await ends.get()


async def test_who_does_not_read_is_cut_off() -> None:
    """An answer that nobody takes does not stay in memory."""
    async with _served(write_timeout_s=0.05) as (connect, ends):
        client = connect()
        await asyncio.get_running_loop().sock_sendall(client, REQUEST)
        await ends.get()
        assert await _receive(client, len(MUCH)) < len(MUCH)


async def test_old_connections_end() -> None:
    """Between two requests, without anything having failed."""
    async with _served(age_s=0.05) as (connect, ends):
        client = connect()
        await ends.get()
        assert await _receive(client, 1) == 0


async def test_the_end_is_told_once() -> None:
    """Whoever ends it."""
    async with _served() as (connect, ends):
        connect().close()
        await ends.get()
        assert ends.empty()

"""A Redis that tests may kill, and links to it that do not take a loaded machine for a dead server."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from gpunode_tracker.shared.redis_link import RedisLink

from tests.needs import lacking
from tests.tracker.redis_server import NO_REDIS, Redis, find_redis

PATIENT_S = 20.0
"""For tests in which Redis is well, however busy the machine is."""


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A running server that nobody else uses."""
    program = find_redis()
    if program is None:
        lacking("redis", NO_REDIS)
    with Redis(program) as server:
        yield server
        server.thaw()


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    """A link that is up."""
    opened = RedisLink(redis_url, "gpunode:test", timeout_s=PATIENT_S)
    await opened.start()
    yield opened
    await opened.stop()


class Babbler:
    """A server that gives ``answer`` whatever it is asked, "+OK" at first."""

    def __init__(self) -> None:
        """It does not listen yet."""
        self.answer = b"+OK\r\n"
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends."""
        try:
            while await reader.read(65_536):
                writer.write(self.answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def babbler() -> AsyncIterator[Babbler]:
    """One that listens."""
    item = Babbler()
    server = await asyncio.start_server(item.serve, "127.0.0.1", 0)
    item.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield item
    server.close()

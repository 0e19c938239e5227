"""A real Redis, and links to it that do not take a loaded machine for a dead server."""

from collections.abc import AsyncIterator

import pytest
from gpunode_tracker.shared.redis_link import RedisLink

from tests.tracker.redis_server import RedisServer, require_redis

PATIENT_S = 20.0
"""For tests in which Redis is well, however busy the machine is."""


@pytest.fixture
async def redis_server() -> AsyncIterator[RedisServer]:
    """A running server of the test's own."""
    require_redis()
    server = RedisServer()
    await server.start()
    yield server
    server.remove()


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    """A link that is up."""
    opened = RedisLink(redis_server.url, "gpunode:test", timeout_s=PATIENT_S)
    await opened.start()
    yield opened
    await opened.stop()

"""A Redis that tests may kill, and links to it that do not take a loaded machine for a dead server."""

from collections.abc import AsyncIterator, Iterator

import pytest
from gpunode_tracker.shared.redis_link import RedisLink

from tests.tracker.redis_server import NO_REDIS, Redis, find_redis

PATIENT_S = 20.0
"""For tests in which Redis is well, however busy the machine is."""


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A running server that nobody else uses."""
    program = find_redis()
    if program is None:
        pytest.skip(NO_REDIS)
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

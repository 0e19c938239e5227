"""Clients of the queue."""

import pytest

from tests.tracker.conftest import World
from tests.tracker.handlers.job_client import Client, client_of


@pytest.fixture
async def client(world: World) -> Client:
    """A client with 100 credits."""
    return await client_of(world)

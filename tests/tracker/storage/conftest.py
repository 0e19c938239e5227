"""An open database with the newest schema, and nothing of a tracker around it."""

from collections.abc import AsyncIterator

import pytest
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.storage.database import Database

from tests.tracker.storage.queued_jobs import Queue, add_jobs, add_worker


@pytest.fixture
async def database(settings: TrackerSettings) -> AsyncIterator[Database]:
    """A database as it is after a tracker's first start."""
    opened = Database(settings.sqlalchemy_url)
    yield opened
    await opened.close()


@pytest.fixture
async def queue(database: Database) -> Queue:
    """An empty queue, with four workers."""
    async with database.write() as connection:
        await add_jobs(connection, ())
        for number in range(1, 5):
            await add_worker(connection, f"w{number}")
    return Queue(database)

"""An open database with the newest schema, and nothing of a tracker around it."""

from collections.abc import AsyncIterator

import pytest
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.storage.database import Database


@pytest.fixture
async def database(settings: TrackerSettings) -> AsyncIterator[Database]:
    """A database as it is after a tracker's first start."""
    opened = Database(settings.sqlalchemy_url)
    yield opened
    await opened.close()

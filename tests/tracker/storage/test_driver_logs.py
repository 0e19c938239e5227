"""What drivers may log."""

import logging

import pytest
from gpunode_tracker.storage.driver_logs import silence_drivers
from gpunode_tracker.tracker import Tracker
from sqlalchemy import select, text

from tests.tracker.databases import ON_BOTH


@ON_BOTH
async def test_values_are_not_logged(tracker: Tracker, caplog: pytest.LogCaptureFixture) -> None:
    """Not at the level debug either: neither what goes into the database nor what comes out of it."""
    caplog.set_level(logging.DEBUG)
    async with tracker.database.write() as connection:
        await connection.execute(text("SELECT CAST(:value AS TEXT)"), {"value": "going in"})
        await connection.execute(select(text("'coming out'")))
    assert "going in" not in caplog.text
    assert "coming out" not in caplog.text


def test_a_stricter_level_stays() -> None:
    """Whoever wants to hear even less does."""
    logger = logging.getLogger("aiosqlite")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    silence_drivers()
    assert logger.level == logging.CRITICAL
    logger.setLevel(before)
    silence_drivers()
    assert logger.level == logging.WARNING

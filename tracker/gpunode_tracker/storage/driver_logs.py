"""Keeps database drivers from logging the values of statements."""

import logging
from typing import Final

_TALKATIVE: Final = ("aiosqlite", "asyncpg", "sqlalchemy.engine", "sqlalchemy.pool")
"""At the level debug they write down what goes into the database and comes out of it."""


def silence_drivers() -> None:
    """Let their records pass from the level warning on only, whatever the level of the log is."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.setLevel(max(logging.WARNING, logger.level))

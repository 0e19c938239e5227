"""SQLAlchemy's engines: one for each kind of database, set up so that both keep the same promises."""

import time
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import NullPool, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from gpunode_tracker.storage.database_urls import is_postgresql, libpq_url
from gpunode_tracker.storage.sqlite_connection import open_by

POOL_CONNECTIONS: Final = 10
"""Kept open to PostgreSQL by one process. Its own limit is 100 for all, unless the operator raises it."""
POOL_OVERFLOW: Final = 10
"""Opened beyond that while they are needed."""
_POOL_TIMEOUT_S: Final = 5
PING_AFTER_S: Final = 30
"""A connection that was idle for longer is tried before it is used."""
_IDLE_SINCE: Final = "idle_since"
_BUSY_TIMEOUT_MS: Final = 5_000
_PRAGMAS = (
    "journal_mode=WAL",  # the operator's commands read and write while the tracker runs
    "synchronous=FULL",  # what was answered survives a power cut
    "foreign_keys=ON",
    f"busy_timeout={_BUSY_TIMEOUT_MS}",
)


@dataclass(frozen=True)
class Timeouts:
    """How long PostgreSQL may take before its caller is told to come again, in seconds.

    connect_s: for a new connection. lock_s: waiting for rows that others write. statement_s: one statement, ended by
    the server. silence_s: no word from the server at all, after which the connection is given up.
    """

    connect_s: float = 5
    lock_s: float = 5
    statement_s: float = 10
    silence_s: float = 12


USUAL_TIMEOUTS: Final = Timeouts()


def create_engine(url: str, timeouts: Timeouts) -> AsyncEngine:
    """Return the engine for a driver URL; nothing is opened yet."""
    if is_postgresql(url):
        return _postgres_engine(
            url,
            timeouts,
            pool_size=POOL_CONNECTIONS,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=_POOL_TIMEOUT_S,
        )
    engine = create_async_engine(url, hide_parameters=True, async_creator=open_by(url))
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    return engine


def create_patient_engine(url: str, timeouts: Timeouts) -> AsyncEngine:
    """Return an engine for PostgreSQL whose statements may take as long as they need: for migrations."""
    return _postgres_engine(url, Timeouts(timeouts.connect_s, 0, 0, 0), poolclass=NullPool)


def _postgres_engine(url: str, timeouts: Timeouts, **pool: Any) -> AsyncEngine:
    import asyncpg  # noqa: PLC0415 -- of no use on SQLite

    settings = {
        "application_name": "gpunode-tracker",
        "jit": "off",  # compiling pays for reports, not for statements of a millisecond
        "statement_timeout": _milliseconds(timeouts.statement_s),
        "lock_timeout": _milliseconds(timeouts.lock_s),
        "idle_in_transaction_session_timeout": _milliseconds(6 * timeouts.statement_s),
    }

    async def connect() -> Any:
        # the driver reads the URL as libpq does (sslmode, several hosts, …), and SQLAlchemy never has the password
        return await asyncpg.connect(
            libpq_url(url),
            timeout=timeouts.connect_s,
            command_timeout=timeouts.silence_s or None,
            server_settings=settings,
        )

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        **pool,
    )
    event.listen(engine.sync_engine, "checkout", _look_at_idle)
    event.listen(engine.sync_engine, "checkin", _note_idle)
    return engine


def _note_idle(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[_IDLE_SINCE] = time.monotonic()


def _look_at_idle(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Replace a connection that is lost, so that a restart of the database is not felt.

    SQLAlchemy's ``pool_pre_ping`` asks the server each time, in three round trips. But a connection that the other side
    ended is known to be closed; only after a long silence something in between may have forgotten it.
    """
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError
    if time.monotonic() - record.info.get(_IDLE_SINCE, time.monotonic()) > PING_AFTER_S:
        try:
            connection.ping()
        except Exception as error:
            raise InvalidatePoolError from error


def _milliseconds(seconds: float) -> str:
    """Return a setting of the server; 0 = no limit."""
    return str(round(seconds * 1_000))


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself: ``begin_sqlite`` does
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()

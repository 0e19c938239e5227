"""Connections, transactions and migrations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.storage.driver_logs import silence_drivers
from gpunode_tracker.storage.migrate import upgrade

_BEGIN = "gpunode_begin"
_BUSY_TIMEOUT_MS = 5_000
_BUSY_RETRY_AFTER_S = 1
_FULL_RETRY_AFTER_S = 30
_PRAGMAS = (
    "journal_mode=WAL",  # the operator's commands read and write while the tracker runs
    "synchronous=FULL",  # what was answered survives a power cut
    "foreign_keys=ON",
    f"busy_timeout={_BUSY_TIMEOUT_MS}",
)


class Database:
    """The tracker's database. Writers take turns; readers see a snapshot.

    Args:
        url: SQLAlchemy URL of an async driver.
    """

    def __init__(self, url: str) -> None:
        """Prepare the engine; nothing is opened yet."""
        silence_drivers()
        self._engine = create_async_engine(url, hide_parameters=True)
        self._turn = asyncio.Lock()
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine.sync_engine, "connect", _set_up_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)

    async def migrate(self) -> None:
        """Bring the schema up to date.

        Raises:
            StorageUnavailable: the database cannot be opened or written.
        """
        async with self.write() as connection:
            await connection.run_sync(upgrade)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that only reads.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        with _translated():
            async with self._engine.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that excludes other writers from its first statement on; it commits at the end.

        Raises:
            StorageUnavailable: nothing was written (disk full, or another process writes for too long).
        """
        with _translated():
            async with self._turn, self._engine.connect() as connection:
                await connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
                async with connection.begin():
                    yield connection

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


class _translated:  # noqa: N801 -- used like a function
    """Turn the driver's failures into ``StorageUnavailable``; broken constraints are bugs and pass."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
            text = str(error.orig)
            busy = "locked" in text or "busy" in text
            raise StorageUnavailable(
                f"The tracker's database cannot be used now ({text}). Nothing was changed; send it again later.",
                retry_after_s=_BUSY_RETRY_AFTER_S if busy else _FULL_RETRY_AFTER_S,
            ) from error


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself: _begin_sqlite does
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

"""Connections, transactions and migrations."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from types import TracebackType
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gpunode_tracker.errors import InvalidSettings, StorageUnavailable, TrackerError
from gpunode_tracker.storage.database_urls import driver_url, is_postgresql
from gpunode_tracker.storage.driver_logs import silence_drivers
from gpunode_tracker.storage.engines import USUAL_TIMEOUTS, Timeouts, create_engine, create_patient_engine
from gpunode_tracker.storage.failures import SOON_S, connect_failure_of, failure_of
from gpunode_tracker.storage.locks import Lock, take
from gpunode_tracker.storage.migrate import upgrade
from gpunode_tracker.storage.sqlite_connection import begin_sqlite

logger = logging.getLogger(__name__)

_TIME: Final = text("SELECT extract(epoch FROM clock_timestamp())")
_SNAPSHOT: Final[dict[str, Any]] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


class Database:
    """The tracker's database. Readers see a snapshot.

    On SQLite writers take turns. On PostgreSQL they run at once, those of other replicas too, and each statement sees
    what was committed before it: whoever decides by what it read locks that first (rows, or ``locks``).

    Args:
        url: as in the settings, see ``database_urls``.
        timeouts: for PostgreSQL.
    """

    def __init__(self, url: str, timeouts: Timeouts = USUAL_TIMEOUTS) -> None:
        """Prepare the engine; nothing is opened yet.

        Raises:
            InvalidSettings: the URL cannot be used.
        """
        silence_drivers()
        self._url = driver_url(url)
        self._timeouts = timeouts
        self._engine = create_engine(self._url, timeouts)
        self._is_postgresql = is_postgresql(self._url)
        self._turn = asyncio.Lock()
        self._is_failing = False

    @property
    def is_shared(self) -> bool:
        """Whether several trackers may use it at once."""
        return self._is_postgresql

    async def time(self) -> float:
        """Return the time on the clock of the database's machine, Unix seconds; for one that ``is_shared``.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        async with self.read() as connection:
            return float((await connection.execute(_TIME)).scalar_one())

    async def migrate(self) -> None:
        """Bring the schema up to date; of several replicas one does it, and the others wait for that.

        Raises:
            StorageUnavailable: the database cannot be opened or written.
        """
        async with self.overhaul() as connection:
            await connection.run_sync(upgrade)

    @asynccontextmanager
    async def overhaul(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that changes schema or everything, whose statements may take as long as they need.

        Raises:
            StorageUnavailable: the database cannot be opened or written; nothing was changed.
        """
        async with self._patient_engine() as engine, self._write(engine) as connection:
            await take(connection, Lock.SCHEMA)
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that reads all there was at one instant, for as long as that takes.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        async with self._patient_engine() as engine, self._read(engine) as connection:
            yield connection

    @asynccontextmanager
    async def _patient_engine(self) -> AsyncIterator[AsyncEngine]:
        engine = create_patient_engine(self._url, self._timeouts) if self._is_postgresql else self._engine
        try:
            yield engine
        finally:
            if engine is not self._engine:
                await engine.dispose()

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that only reads.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        return self._read(self._engine)

    @asynccontextmanager
    async def _read(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with self._connected(engine) as connection:
            if self._is_postgresql:
                await connection.execution_options(**_SNAPSHOT)
            begin_sqlite(connection, writing=False)
            with _Translated(failure_of, self._note):
                async with connection.begin():
                    yield connection

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that commits at the end.

        On SQLite it excludes other writers from its first statement on.

        Raises:
            StorageUnavailable: nothing was written (disk full, or another process writes for too long), or the database
                does not answer.
            InvalidRequest: the database cannot hold one of the values.
        """
        return self._write(self._engine)

    @asynccontextmanager
    async def _write(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        turn: AbstractAsyncContextManager[object] = nullcontext() if self._is_postgresql else self._turn
        async with turn, self._connected(engine) as connection:
            begin_sqlite(connection, writing=True)
            with _Translated(failure_of, self._note):
                async with connection.begin():
                    yield connection

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            with _Translated(connect_failure_of, self._note):
                connection = await stack.enter_async_context(engine.connect())
            yield connection
            self._note(None)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    def _note(self, failure: TrackerError | None, error: BaseException | None = None) -> None:
        """Log that the database fails or works again, once each."""
        if failure is None and self._is_failing:
            self._is_failing = False
            logger.info("The database works again", extra={"event": "database_recovered"})
        if isinstance(failure, StorageUnavailable) and failure.retry_after_s > SOON_S and not self._is_failing:
            self._is_failing = True
            logger.error("%s (%s)", failure, _words_of(error), extra={"event": "database_failed"})


class _Translated:
    """Turn the driver's failures into the tracker's errors; broken constraints and other bugs pass."""

    def __init__(
        self,
        meaning: Callable[[BaseException], TrackerError | None],
        note: Callable[[TrackerError, BaseException], None],
    ) -> None:
        self._meaning, self._note = meaning, note

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        failure = self._meaning(error) if error is not None else None
        if failure is not None and error is not None:
            self._note(failure, error)
            # what the driver says of a URL that it cannot read has pieces of it
            raise failure from (None if isinstance(failure, InvalidSettings) else error)


def _words_of(error: BaseException | None) -> str:
    """Return what the driver said, without the statement around it."""
    return str(getattr(error, "orig", error)) or type(error).__name__

"""aiosqlite's connection, with one turn of its thread for a statement and all that comes of it.

SQLAlchemy asks a driver for a cursor, for the statement, for its rows and for the cursor's end, and aiosqlite hands
each of these to its thread and back: four turns, each of which takes longer than the statement does. The beginning of
a transaction is sent with its first statement.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import aiosqlite
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

AT_ONCE_ROWS: Final = 500
"""So many rows come with the statement; what has more is read on as it is asked for, in pieces of a stream's size."""

R = TypeVar("R")
Row = tuple[Any, ...]


class SqliteConnection(aiosqlite.Connection):
    """A connection to one database file. Open it by awaiting it.

    All transactions are begun by ``begin``. What has been handed to the thread counts as done in its order, whether
    somebody still waits for it or not: a statement whose caller was cancelled is rolled back after it.
    """

    def __init__(self, filename: str, options: dict[str, Any]) -> None:
        """Prepare it. options: of ``sqlite3.connect``."""
        super().__init__(lambda: sqlite3.connect(filename, **options), iter_chunk_size=AT_ONCE_ROWS)
        self._thread.daemon = True  # as SQLAlchemy does: who forgets to close it is not kept from ending
        self._beginning: str | None = None
        self._has_begun = False

    def begin(self, statement: str) -> None:
        """Begin a transaction with the next statement. statement: such as ``BEGIN``."""
        self._beginning = statement

    def cursor(self) -> Any:
        """Return a cursor; see ``SqliteCursor``. Nothing is done yet."""
        return SqliteCursor(self)

    async def commit(self) -> None:
        """Commit the transaction, if it has had a statement."""
        await self._end(super().commit)

    async def rollback(self) -> None:
        """Roll the transaction back, likewise."""
        await self._end(super().rollback)

    async def _end(self, end: Callable[[], Awaitable[None]]) -> None:
        self._beginning = None
        if self._has_begun:
            await end()
            self._has_begun = False

    async def run(self, function: Callable[[sqlite3.Connection], R]) -> R:
        """Call a function with the driver's own connection, in the thread, after what ``begin`` announced."""
        beginning, self._beginning = self._beginning, None
        if beginning is None:
            return await self._run(function)
        self._has_begun = True  # from here on the thread may have begun it

        def begin_and_call(connection: sqlite3.Connection) -> R:
            connection.execute(beginning)
            return function(connection)

        return await self._run(begin_and_call)

    async def _run(self, function: Callable[[sqlite3.Connection], R]) -> R:
        result: R = await self._execute(function, self._conn)  # type: ignore[no-untyped-call]  # -- aiosqlite's
        return result


class SqliteCursor:
    """What SQLAlchemy asks of an asynchronous cursor (PEP 249's, awaited)."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._open: sqlite3.Cursor | None = None
        self._rows: list[Row] = []
        self.arraysize = 1
        self.description: Sequence[Any] | None = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def execute(self, sql: str, parameters: Any = ()) -> Self:
        """Execute a statement and read its first rows."""
        await self._connection.run(lambda connection: self._read(connection.execute(sql, parameters)))
        return self

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> Self:
        """Execute a statement with many sets of values."""
        await self._connection.run(lambda connection: self._read(connection.executemany(sql, parameters)))
        return self

    def _read(self, cursor: sqlite3.Cursor) -> None:
        self.description, self.lastrowid = cursor.description, cursor.lastrowid
        self._rows = cursor.fetchmany(AT_ONCE_ROWS) if cursor.description else []
        if len(self._rows) < AT_ONCE_ROWS:
            self.rowcount = cursor.rowcount  # of what returns rows it is known after the last one
            cursor.close()
        else:
            self._open = cursor

    async def fetchone(self) -> Row | None:
        """Return the next row, None after the last."""
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Row]:
        """Return the next rows."""
        wanted, cursor = size or self.arraysize, self._open
        if len(self._rows) < wanted and cursor is not None:
            missing = wanted - len(self._rows)
            self._rows += await self._connection.run(lambda _: cursor.fetchmany(missing))
        rows, self._rows = self._rows[:wanted], self._rows[wanted:]
        return rows

    async def fetchall(self) -> list[Row]:
        """Return all that are left."""
        cursor = self._open
        if cursor is not None:
            self._rows += await self._connection.run(lambda _: cursor.fetchall())
            self.rowcount = cursor.rowcount
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Let go of rows that nobody has asked for."""
        self._rows = []
        cursor, self._open = self._open, None
        if cursor is not None:
            await self._connection.run(lambda _: cursor.close())


def open_by(url: str) -> Any:
    """Return a function that opens connections to the database of a SQLAlchemy URL, for ``async_creator``."""
    parsed = make_url(url)
    (filename,), options = parsed.get_dialect()().create_connect_args(parsed)

    async def connect() -> SqliteConnection:
        connection = SqliteConnection(filename, dict(options))
        opening = asyncio.create_task(_open(connection))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:  # its thread is not to go on when the event loop may have ended
            await asyncio.wait([opening])
            if not opening.cancelled() and opening.exception() is None:
                await connection.close()
            raise
        return connection

    return connect


async def _open(connection: SqliteConnection) -> None:
    await connection


def begin_sqlite(connection: AsyncConnection, *, writing: bool) -> None:
    """Begin a transaction with its first statement; one that writes excludes others from then on.

    No listener does this: an engine with one looks for more of them at each statement.
    """
    raw = connection.sync_connection
    if raw is not None and isinstance(raw.connection.driver_connection, SqliteConnection):
        raw.connection.driver_connection.begin("BEGIN IMMEDIATE" if writing else "BEGIN")


def holds_something(path: Path) -> bool:
    """Return whether a file may be a database that has tables; also if it is damaged, which opening it will tell.

    A file that was copied without the log beside it (``-wal``) may have its head only.
    """
    log = path.with_name(f"{path.name}-wal")
    if path.stat().st_size == 0 or (log.exists() and log.stat().st_size > 0):
        return path.stat().st_size > 0
    try:
        # immutable: nothing is locked, and no file is made beside it
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return True

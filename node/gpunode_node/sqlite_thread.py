"""A SQLite file with a thread of its own: nothing on the event loop waits for the disk."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from gpunode_node.errors import StateUnwritable

T = TypeVar("T")

_BUSY_TIMEOUT_S = 5.0


class SqliteThread:
    """One connection in WAL mode, used by one thread, in order.

    Args:
        path: the file, made when absent, mode 0600.
        schema: statements that create what is missing.
        synchronous: ``FULL`` survives the loss of power, ``NORMAL`` the death of the process
            (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """

    def __init__(self, path: Path, schema: str, synchronous: Literal["FULL", "NORMAL"]) -> None:
        self._path = path
        self._schema = schema
        self._synchronous = synchronous
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sqlite-{path.stem}")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file.

        Raises:
            StateUnwritable: it cannot be opened, is damaged, or has tables of another version.
        """
        try:
            self._connection = await self._call(self._connect)
        except (sqlite3.Error, OSError) as error:
            raise StateUnwritable(
                f"{self._path} cannot be opened: {error}. Free some disk space, check its permissions, or move it away."
            ) from error

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in the thread as one transaction, which is rolled back when it raises.

        What was begun before ``close`` is done before it.
        """
        connection = self._connection  # now: when its turn comes, a close may already be waiting behind it
        if connection is None:
            raise sqlite3.ProgrammingError("The database is not open.")

        def transaction() -> T:
            with connection:
                return work(connection)

        return await self._call(transaction)

    async def close(self) -> None:
        """Finish what is under way and close the file. May be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._call(connection.close)
        self._executor.shutdown(wait=False)

    async def _call(self, work: Callable[[], T]) -> T:
        # shielded: a cancelled waiter must not leave a transaction half accounted for
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, work))

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
        try:
            _check(connection, self._path, self._schema)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.executescript(self._schema)
        except (sqlite3.Error, StateUnwritable):
            connection.close()
            raise
        return connection


def _check(connection: sqlite3.Connection, path: Path, schema: str) -> None:
    """Refuse a file that would fail later, in the middle of a job. Raises StateUnwritable, sqlite3.Error."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise StateUnwritable(
            f"{path} is damaged ({' '.join(found.split())}). Restore it from a backup, or move it away."
        )
    with contextlib.closing(sqlite3.connect(":memory:")) as blank:
        blank.executescript(schema)
        wanted = _columns(blank)
    known = _columns(connection)
    if other := [table for table in wanted if known.get(table, wanted[table]) != wanted[table]]:
        raise StateUnwritable(
            f"{path} was written by another version of gpunode (table {other[0]}). Use that version, or move it away."
        )


def _columns(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return name, type, NOT NULL, default and place in the primary key of each column, by table."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
    )
    return {
        name: connection.execute(
            'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)', (name,)
        ).fetchall()
        for (name,) in tables.fetchall()
    }

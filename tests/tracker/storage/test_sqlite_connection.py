"""One turn for each statement, and the same promises as before."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import pytest_asyncio
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.sqlite_connection import AT_ONCE_ROWS, SqliteConnection, open_by
from sqlalchemy import text

MANY = 3 * AT_ONCE_ROWS + 7


@pytest_asyncio.fixture
async def connection(tmp_path: Path) -> AsyncIterator[SqliteConnection]:
    """An open connection to an empty database, which begins no transactions by itself."""
    opened = await open_by(f"sqlite+aiosqlite:///{tmp_path}/a.db?isolation_level=")()
    await opened.cursor().execute("CREATE TABLE numbers (number INTEGER)")
    opened.isolation_level = None
    yield opened
    await opened.close()


@contextmanager
def _turns(connection: SqliteConnection, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Count what is handed to the thread."""
    turns: list[object] = []
    hand = connection._execute

    async def counted(function: object, *arguments: object) -> object:
        turns.append(function)
        return await hand(function, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(connection, "_execute", counted)
        yield turns


async def _numbers(connection: SqliteConnection) -> list[int]:
    cursor = await connection.cursor().execute("SELECT number FROM numbers ORDER BY number")
    return [number for (number,) in await cursor.fetchall()]


async def test_a_transaction_takes_a_turn_a_statement_and_one_to_commit(
    connection: SqliteConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning, the rows and the cursors' ends take none."""
    with _turns(connection, monkeypatch) as turns:
        connection.begin("BEGIN IMMEDIATE")
        async with connection.cursor() as cursor:
            await cursor.execute("INSERT INTO numbers VALUES (?)", (1,))
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT number FROM numbers")
            assert await cursor.fetchall() == [(1,)]
        await connection.commit()
        await connection.rollback()  # as the pool does with each connection that comes back
    assert len(turns) == 3
    assert not connection.in_transaction


async def test_a_rollback_undoes_all(connection: SqliteConnection) -> None:
    """Everything since the beginning; what comes after stands by itself."""
    connection.begin("BEGIN")
    await connection.cursor().executemany("INSERT INTO numbers VALUES (?)", [(1,), (2,)])
    await connection.rollback()
    await connection.cursor().execute("INSERT INTO numbers VALUES (3)")
    assert await _numbers(connection) == [3]


async def test_a_transaction_without_a_statement_takes_no_turn(
    connection: SqliteConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none is open afterwards."""
    with _turns(connection, monkeypatch) as turns:
        connection.begin("BEGIN")
        await connection.commit()
        connection.begin("BEGIN")
        await connection.rollback()
    assert turns == []
    await connection.cursor().execute("INSERT INTO numbers VALUES (1)")
    assert not connection.in_transaction


async def test_a_statement_whose_caller_was_cancelled_is_rolled_back(connection: SqliteConnection) -> None:
    """It is in the transaction, although the thread may come to it only after the cancellation."""
    goes_on = Event()
    waiting = asyncio.create_task(connection.run(lambda _: goes_on.wait(10)))
    await asyncio.sleep(0)
    connection.begin("BEGIN")
    writing = asyncio.create_task(connection.cursor().execute("INSERT INTO numbers VALUES (1)"))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    rolling_back = asyncio.create_task(connection.rollback())
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(waiting, rolling_back)
    assert await _numbers(connection) == []
    assert not connection.in_transaction


async def test_a_commit_that_fails_can_be_rolled_back(connection: SqliteConnection) -> None:
    """The transaction is open until then."""
    await connection.cursor().execute("PRAGMA foreign_keys=ON")
    await connection.cursor().execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
    await connection.cursor().execute(
        "CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    connection.begin("BEGIN")
    await connection.cursor().execute("INSERT INTO children VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError):
        await connection.commit()
    assert connection.in_transaction
    await connection.rollback()
    assert not connection.in_transaction


async def test_counts_of_rows(connection: SqliteConnection) -> None:
    """Also of statements that return what they changed."""
    inserted = await connection.cursor().executemany("INSERT INTO numbers VALUES (?)", [(1,), (2,), (3,)])
    assert inserted.rowcount == 3
    changed = await connection.cursor().execute("UPDATE numbers SET number = 9 WHERE number > 1 RETURNING number")
    assert (changed.rowcount, await changed.fetchall()) == (2, [(9,), (9,)])


async def test_many_rows_are_read_as_they_are_asked_for(connection: SqliteConnection) -> None:
    """One by one, some at once, or all that are left."""
    await connection.cursor().executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(MANY)])
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT number FROM numbers ORDER BY number")
        assert await cursor.fetchone() == (0,)
        assert [number for (number,) in await cursor.fetchmany(AT_ONCE_ROWS)] == list(range(1, AT_ONCE_ROWS + 1))
        rest = [number for (number,) in await cursor.fetchall()]
        assert rest == list(range(AT_ONCE_ROWS + 1, MANY))
        assert (await cursor.fetchone(), await cursor.fetchmany(2), await cursor.fetchall()) == (None, [], [])


async def test_rows_that_nobody_asked_for_hold_nothing_up(connection: SqliteConnection) -> None:
    """A reader that stops early does not keep the table from being changed."""
    await connection.cursor().executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(MANY)])
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT number FROM numbers")
    await connection.cursor().execute("DROP TABLE numbers")


async def test_a_stream_through_the_database(tmp_path: Path) -> None:
    """SQLAlchemy reads rows in pieces."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/b.db")
    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
        insert = text("INSERT INTO numbers VALUES (:number)")
        await connection.execute(insert, [{"number": number} for number in range(MANY)])
    async with database.snapshot() as connection:
        found = [
            row.number async for row in await connection.stream(text("SELECT number FROM numbers ORDER BY number"))
        ]
    await database.close()
    assert found == list(range(MANY))


async def test_a_connection_that_is_given_up_while_it_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread has ended when its caller goes on: the event loop may end next."""
    begun, go_on, connect = Event(), Event(), sqlite3.connect

    def slow(*arguments: Any, **options: Any) -> sqlite3.Connection:
        begun.set()
        go_on.wait()
        return connect(*arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", slow)
    opening = asyncio.create_task(open_by(f"sqlite+aiosqlite:///{tmp_path}/b.db")())
    await asyncio.to_thread(begun.wait)
    opening.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not opening.done()  # it waits for its thread
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening

"""A database beside the event loop."""

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest
from gpunode_node.errors import StateUnwritable
from gpunode_node.sqlite_thread import SqliteThread

_SCHEMA = "CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY);"


def _insert(connection: sqlite3.Connection, value: int) -> None:
    connection.execute("INSERT INTO t VALUES (?)", (value,))


async def test_one_thread_one_transaction(tmp_path: Path) -> None:
    """Work runs in the same other thread; what raises is rolled back."""
    database = SqliteThread(tmp_path / "a.db", _SCHEMA, "FULL")
    await database.open()

    def fail(connection: sqlite3.Connection) -> None:
        _insert(connection, 1)
        _insert(connection, 1)

    with pytest.raises(sqlite3.IntegrityError):
        await database.run(fail)
    await database.run(lambda connection: _insert(connection, 2))
    assert await database.run(lambda connection: connection.execute("SELECT x FROM t").fetchall()) == [(2,)]
    threads = {await database.run(lambda _: threading.get_ident()) for _ in range(3)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    await database.close()
    await database.close()


async def test_durability_is_as_asked(tmp_path: Path) -> None:
    """WAL, and the level of synchronisation (https://www.sqlite.org/pragma.html#pragma_synchronous)."""
    for name, level, number in (("a.db", "FULL", 2), ("b.db", "NORMAL", 1)):
        database = SqliteThread(tmp_path / name, _SCHEMA, level)  # type: ignore[arg-type]  # -- both are allowed
        await database.open()
        assert await database.run(lambda c: c.execute("PRAGMA synchronous").fetchone()) == (number,)
        assert await database.run(lambda c: c.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
        await database.close()


async def test_what_was_begun_before_the_close_is_written(tmp_path: Path) -> None:
    """Also what waited for its turn, and for which nobody waits any more."""
    database = SqliteThread(tmp_path / "a.db", _SCHEMA, "FULL")
    await database.open()
    let_go = threading.Event()
    first = asyncio.create_task(database.run(lambda _: let_go.wait(10)))
    second = asyncio.create_task(database.run(lambda connection: _insert(connection, 1)))
    await asyncio.sleep(0)
    second.cancel()
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    let_go.set()
    await asyncio.gather(first, closing)
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as again:
        assert again.execute("SELECT x FROM t").fetchall() == [(1,)]


async def test_a_closed_database(tmp_path: Path) -> None:
    """Using it before it is open is an error."""
    with pytest.raises(sqlite3.ProgrammingError):
        await SqliteThread(tmp_path / "a.db", _SCHEMA, "FULL").run(lambda _: None)


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnwritable, match=r"a\.db"):
        await SqliteThread(tmp_path / "file" / "a.db", _SCHEMA, "FULL").open()


@pytest.mark.parametrize(
    "before",
    [
        "CREATE TABLE t (y INTEGER PRIMARY KEY);",
        "CREATE TABLE t (x INTEGER PRIMARY KEY, y INTEGER NOT NULL);",
    ],
)
async def test_tables_of_another_version(tmp_path: Path, before: str) -> None:
    """Found at the start, with what to do, not when the first job ends; the file stays as it is."""
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(before)
    database = SqliteThread(tmp_path / "a.db", _SCHEMA, "FULL")
    with pytest.raises(StateUnwritable, match=r"a\.db.*another version"):
        await database.open()
    await database.close()


async def test_a_file_with_damaged_pages(tmp_path: Path) -> None:
    """Found at the start too."""
    path = tmp_path / "a.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(_SCHEMA)
        connection.executemany("INSERT INTO t VALUES (?)", ((number,) for number in range(5_000)))
        connection.commit()
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(bytes([0xA5]) * 4096)
    database = SqliteThread(path, _SCHEMA, "FULL")
    with pytest.raises(StateUnwritable, match="damaged"):
        await database.open()
    await database.close()

"""A database with data in all tables goes through every version of the schema, up and down, and loses nothing."""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from gpunode_tracker.storage.accounts import secret_hash
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.migrate import alembic_config
from gpunode_tracker.storage.tables import metadata
from sqlalchemy import JSON, Boolean, Column, Connection, Integer, LargeBinary, MetaData, Table, insert, select, text

from tests.tracker.databases import ON_BOTH

pytestmark = ON_BOTH

T = TypeVar("T")
Rows = dict[str, list[dict[str, Any]]]

FIRST = "0001"
ROWS = 3
"""In each table; the last has NULL wherever it may."""
OWN_TABLES = {"alembic_version"}


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    """A database with the first schema."""
    opened = Database(empty_database_url)
    await _run(opened, lambda connection: command.upgrade(alembic_config(connection), FIRST))
    yield opened
    await opened.close()


async def _run(database: Database, action: Callable[[Connection], T]) -> T:
    async with database.write() as connection:
        return await connection.run_sync(action)


def _reflected(connection: Connection) -> list[Table]:
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name not in OWN_TABLES]


def _value(column: "Column[Any]", number: int) -> Any:
    """Return a value that no other row of the column has."""
    if column.nullable and number == ROWS - 1:
        return None
    for parent in column.foreign_keys:
        return _value(parent.column, number)
    if isinstance(column.type, Boolean):
        return number % 2 == 0
    if isinstance(column.type, Integer):
        return number + 1
    if isinstance(column.type, LargeBinary):
        return secret_hash(f"{column.name} {number}")
    return {"number": number} if isinstance(column.type, JSON) else f"{column.table.name}.{column.name} {number} é"


def _fill(connection: Connection) -> None:
    for table in _reflected(connection):
        rows = [{column.name: _value(column, number) for column in table.columns} for number in range(ROWS)]
        connection.execute(insert(table), rows)


def _read(connection: Connection) -> Rows:
    tables = _reflected(connection)
    return {
        table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
        for table in tables
    }


def _parts(rows: Rows, like: Rows) -> Rows:
    """Return those tables and columns of some rows that an earlier schema had."""
    return {name: [{key: row[key] for key in before[0]} for row in rows[name]] for name, before in like.items()}


def _difference(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [change for change in compare_metadata(context, metadata) if "alembic_version" not in str(change)]


async def test_nothing_is_lost_on_the_way_up_and_down(database: Database) -> None:
    """From the first schema to the newest, back to the first, and up again."""
    await _run(database, _fill)
    before = await _run(database, _read)
    assert all(len(rows) == ROWS for rows in before.values())
    assert len(before) == 17
    for _ in range(2):
        await database.migrate()
        newest = await _run(database, _read)
        assert _parts(newest, before) == before
        assert await _run(database, _difference) == []
        await _run(database, lambda connection: command.downgrade(alembic_config(connection), FIRST))
        assert await _run(database, _read) == before


async def test_the_way_down_step_by_step(database: Database) -> None:
    """Every version of the schema can be left for the one before it, and it goes down to nothing."""
    await _run(database, _fill)
    before = await _run(database, _read)
    await database.migrate()
    steps = 0
    while (await _run(database, _revision)) != FIRST:
        await _run(database, lambda connection: command.downgrade(alembic_config(connection), "-1"))
        assert _parts(await _run(database, _read), before) == before
        steps += 1
    assert steps >= 2
    await _run(database, lambda connection: command.downgrade(alembic_config(connection), "base"))
    assert await _run(database, _reflected) == []


def _revision(connection: Connection) -> str:
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


async def test_old_keys_get_names_for_lists(database: Database) -> None:
    """The first 16 digits of their hash, without limits and with the scopes that all keys had."""
    await _run(database, _fill)
    await database.migrate()
    rows = (await _run(database, _read))["api_keys"]
    assert [row["id"] for row in rows] == [row["key_hash"].hex()[:16] for row in rows]
    fields = ("name", "scopes", "expires_at", "revoked_at", "requests_per_minute")
    assert {tuple(row[name] for name in fields) for row in rows} == {("", None, None, None, None)}


async def test_references_still_hold(database: Database) -> None:
    """Also those to tables that were made anew on the way."""
    await _run(database, _fill)
    await database.migrate()
    for table in await _run(database, _reflected):
        for column in table.columns:
            if not column.foreign_keys:
                continue
            (parent,) = column.foreign_keys
            orphans = select(column).where(column.is_not(None), column.not_in(select(parent.column)))
            async with database.read() as connection:
                assert (await connection.execute(orphans)).all() == []

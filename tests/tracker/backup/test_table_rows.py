"""Rows out of one database and into another."""

import io
from typing import Any

import msgpack
import pytest
from gpunode_tracker.backup.manifest import TablePart
from gpunode_tracker.backup.table_rows import PAGE_ROWS, insert_rows, reflected_tables, tables_to_keep, write_rows
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.tables import accounts, api_keys, audit_log, metadata, price_tables, workers
from sqlalchemy import insert, select, text

from tests.tracker.databases import ON_BOTH, ON_SQLITE

WORKER: dict[str, Any] = {
    **dict.fromkeys(("name", "country", "city", "gpu_model"), "ü\n"),
    "id": "w",
    "status": "online",
    "region": "europe",
    "gpu_memory_gb": 23.987654321,
    "memory_used_gb": 0.1,
    "supported_types": ["llm"],
    "models": [],
    "success_rate": 1 / 3,
    "total_jobs": 2**31 - 1,
    "maintenance": True,
    "registered_at": 2**62,
    "auth_token_hash": bytes(range(256)),
}


@pytest.fixture
async def database(empty_database_url: str) -> Any:
    """A migrated database of the test's own."""
    opened = Database(empty_database_url)
    await opened.migrate()
    yield opened
    await opened.close()


async def _copy(database: Database, table: Any) -> list[Any]:
    """Write a table's rows, delete them, insert them again; return them as they are then."""
    file = io.BytesIO()
    async with database.snapshot() as connection:
        before = [tuple(row) for row in await connection.execute(select(table))]
        part = await write_rows(connection, table, file)
    file.seek(0)
    async with database.overhaul() as connection:
        await connection.execute(table.delete())
        target = (await connection.run_sync(reflected_tables)).tables[table.name]
        await connection.run_sync(lambda sync: insert_rows(sync, target, part, file))
    async with database.read() as connection:
        after = [tuple(row) for row in await connection.execute(select(table))]
    assert sorted(after, key=str) == sorted(before, key=str)
    return after


@ON_BOTH
async def test_every_type_of_value(database: Database) -> None:
    """Text, bytes, large numbers, fractions, truth, JSON and nothing."""
    async with database.write() as connection:
        await connection.execute(insert(workers).values(**WORKER))
    (row,) = await _copy(database, workers)
    assert WORKER.items() <= dict(zip(workers.columns.keys(), row, strict=True)).items()


@ON_BOTH
@pytest.mark.parametrize("scopes", [None, [], ["a"]])
async def test_no_json_is_not_json_null(database: Database, scopes: list[str] | None) -> None:
    """A column without a value stays so."""
    async with database.write() as connection:
        await connection.execute(insert(accounts).values(id="a", name="", promotional=False, created_at=1))
        key = {"key_hash": b"k", "account_id": "a", "created_at": 1, "id": "k", "name": "", "scopes": scopes}
        await connection.execute(insert(api_keys).values(**key))
    await _copy(database, api_keys)
    async with database.read() as connection:
        is_null = await connection.execute(select(api_keys.c.scopes.is_(None)))
        assert is_null.scalar_one() is (scopes is None)


@ON_BOTH
async def test_numbers_go_on(database: Database) -> None:
    """After more rows than a page, the database numbers the next one by itself."""
    entry = {"at": 1, "actor": "a", "address": "", "action": "", "subject": "", "detail": {}}
    async with database.write() as connection:
        await connection.execute(insert(audit_log), [entry] * (PAGE_ROWS + 10))
    await _copy(database, audit_log)
    async with database.write() as connection:
        number = await connection.execute(insert(audit_log).values(**entry).returning(audit_log.c.id))
        assert number.scalar_one() == PAGE_ROWS + 11


@ON_SQLITE
@pytest.mark.parametrize("rows", [b"", msgpack.packb([1]), msgpack.packb({}), msgpack.packb([1, {}])[:-1] + b"\xc1"])
async def test_rows_of_another_table(database: Database, rows: bytes) -> None:
    """Too few, too narrow, or no rows at all."""
    part = TablePart(name="price_tables", columns=["version", "body"], rows=1)
    with pytest.raises(ValueError, match="row"):
        async with database.overhaul() as connection:
            await connection.run_sync(lambda sync: insert_rows(sync, price_tables, part, io.BytesIO(rows)))


@ON_SQLITE
async def test_references_come_first(database: Database) -> None:
    """In the order of the tables every row finds what it refers to; all but live adverts are kept."""
    names = [table.name for table in tables_to_keep()]
    assert set(metadata.tables) - set(names) == {"live_adverts"}
    for table in tables_to_keep():
        for key in table.foreign_keys:
            assert names.index(key.column.table.name) < names.index(table.name)
    async with database.read() as connection:
        assert (await connection.execute(text("select 1"))).scalar() == 1

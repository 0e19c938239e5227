"""Rows that somebody else may be inserting too."""

import asyncio

from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.tables import balance_checkpoints, meta
from gpunode_tracker.storage.upserts import insert_if_new, insert_or_update
from sqlalchemy import select

from tests.tracker.databases import ON_BOTH

pytestmark = ON_BOTH


async def test_only_a_new_row_is_inserted(database: Database) -> None:
    """What is there stays."""
    async with database.write() as connection:
        assert await insert_if_new(connection, meta, {"key": "k", "value": b"first"})
        assert not await insert_if_new(connection, meta, {"key": "k", "value": b"second"})
        assert (await connection.execute(select(meta.c.value).where(meta.c.key == "k"))).scalar_one() == b"first"


async def test_one_of_many_inserts_it(database: Database) -> None:
    """However many try at once, each sees what came of it."""

    async def insert(number: int) -> bool:
        async with database.write() as connection:
            return await insert_if_new(connection, meta, {"key": "k", "value": bytes([number])})

    assert sorted(await asyncio.gather(*(insert(number) for number in range(8)))) == [False] * 7 + [True]


async def test_a_row_is_written_over(database: Database) -> None:
    """Only its named columns."""
    table = balance_checkpoints
    async with database.write() as connection:
        await insert_or_update(connection, table, {"account": "a", "last_transfer": 1, "microcredits": 5})
        await insert_or_update(connection, table, {"account": "b", "last_transfer": 1, "microcredits": 5})
        await insert_or_update(connection, table, {"account": "a", "last_transfer": 2, "microcredits": 7})
        rows = await connection.execute(select(table).order_by(table.c.account))
        assert [tuple(row) for row in rows] == [("a", 2, 7), ("b", 1, 5)]

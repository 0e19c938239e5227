"""Inserting where somebody else may insert the same row. SQLite and PostgreSQL share the syntax, but not the class."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.locks import is_postgresql


def upsert(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that can be told what to do about a row that is there already."""
    return postgresql.insert(table) if is_postgresql(connection) else sqlite.insert(table)


async def insert_if_new(connection: AsyncConnection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with its key is there; return whether it was inserted.

    Of several who insert it at once, all but one wait for that one's commit and get False.
    """
    result = await connection.execute(upsert(connection, table).values(**values).on_conflict_do_nothing())
    return result.rowcount > 0


async def insert_or_update(connection: AsyncConnection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert a row, or give the row of this primary key these values; columns that are not named keep theirs."""
    key = {column.name for column in table.primary_key}
    changed = {name: value for name, value in values.items() if name not in key}
    statement = upsert(connection, table).values(**values)
    await connection.execute(statement.on_conflict_do_update(index_elements=sorted(key), set_=changed))

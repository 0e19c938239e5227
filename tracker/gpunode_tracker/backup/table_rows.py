"""Rows of tables as a stream of msgpack arrays, out of one database and into another."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any, Final

import msgpack
from sqlalchemy import JSON, Connection, MetaData, Table, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.backup.manifest import TablePart
from gpunode_tracker.storage.tables import live_adverts, metadata

PAGE_ROWS: Final = 500
_MAX_ROW_BYTES: Final = 1024 * 1024 * 1024
_LEFT_OUT: Final = frozenset({live_adverts.name})
"""What nodes say again within a minute."""


def tables_to_keep() -> list[Table]:
    """Return the tables of a backup; what refers to another one stands behind it."""
    return [table for table in metadata.sorted_tables if table.name not in _LEFT_OUT]


async def write_rows(connection: AsyncConnection, table: Table, file: IO[bytes]) -> TablePart:
    """Write all rows of a table in the order of their keys."""
    packer, count = msgpack.Packer(), 0
    result = await connection.stream(select(table).order_by(*table.primary_key))
    async for page in result.partitions(PAGE_ROWS):
        for row in page:
            file.write(packer.pack(list(row)))
        count += len(page)
    return TablePart(name=table.name, columns=[column.name for column in table.columns], rows=count)


def reflected_tables(connection: Connection) -> MetaData:
    """Return the tables as they are in a database, whatever revision its schema has."""
    found = MetaData()
    found.reflect(bind=connection)
    for table in found.tables.values():
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type = JSON(none_as_null=True)
    return found


def insert_rows(connection: Connection, table: Table, part: TablePart, file: IO[bytes]) -> None:
    """Insert all rows of a member.

    Raises:
        ValueError: it has another number of rows than its manifest says, or rows of another width.
    """
    rows, count = _rows(file, len(part.columns)), 0
    while page := list(islice(rows, PAGE_ROWS)):
        connection.execute(insert(table), [dict(zip(part.columns, row, strict=True)) for row in page])
        count += len(page)
    if count != part.rows:
        raise ValueError(f"{part.name} has {count} rows instead of {part.rows}")
    if count and connection.dialect.name == "postgresql":
        _advance_sequences(connection, table)


def _rows(file: IO[bytes], width: int) -> Iterator[Sequence[Any]]:
    rows = iter(msgpack.Unpacker(file, raw=False, max_buffer_size=_MAX_ROW_BYTES))
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except ValueError as error:
            raise ValueError("a row that cannot be read") from error
        if not isinstance(row, list) or len(row) != width:
            raise ValueError("a row of another table")
        yield row


def _advance_sequences(connection: Connection, table: Table) -> None:
    """Let PostgreSQL number further rows after the ones that brought their numbers."""
    for column in table.primary_key:
        names = {"table": table.name, "column": column.name}
        sequence = connection.execute(text("SELECT pg_get_serial_sequence(:table, :column)"), names).scalar()
        if sequence is not None:
            highest = connection.execute(select(func.max(column))).scalar()
            connection.execute(text("SELECT setval(:sequence, :highest)"), {"sequence": sequence, "highest": highest})

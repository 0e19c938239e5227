"""Where sealed values stand, and which key each was sealed with."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Table, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.sealing import HEADER_BYTES, KEY_ID_OFFSET
from gpunode_tracker.sealing_key_file import KEY_ID_BYTES
from gpunode_tracker.storage.tables import jobs, webhooks


@dataclass(frozen=True)
class SealedColumn:
    """A column of sealed values. key: the table's primary key, which is part of each value's context."""

    table: Table
    key: Column[str]
    column: Column[bytes]

    @property
    def name(self) -> str:
        """``table.column``."""
        return f"{self.table.name}.{self.column.name}"

    def context(self, row_id: str) -> str:
        """Return the context of a row's value."""
        return f"{self.name}/{row_id}"


@dataclass(frozen=True)
class SealedValue:
    """A value and its row."""

    row_id: str
    value: bytes


SEALED_COLUMNS: Final = (
    SealedColumn(jobs, jobs.c.id, jobs.c.params),
    SealedColumn(jobs, jobs.c.id, jobs.c.result),
    SealedColumn(jobs, jobs.c.id, jobs.c.request),
    SealedColumn(webhooks, webhooks.c.job_id, webhooks.c.url),
    SealedColumn(webhooks, webhooks.c.job_id, webhooks.c.secret),
)


async def values_sealed_with(
    connection: AsyncConnection, place: SealedColumn, key_ids: Collection[bytes], *, after: str, limit: int
) -> list[SealedValue]:
    """Return values sealed with some keys, of rows after one, in the order of their ids."""
    query = select(place.key, place.column).where(place.key > after, _key_id(place).in_(key_ids))
    return [SealedValue(*row) for row in await connection.execute(query.order_by(place.key).limit(limit))]


async def count_sealed_with(connection: AsyncConnection, key_ids: Collection[bytes]) -> int:
    """Return how many values are sealed with some keys; looks at all there are."""
    counts = [
        (await connection.execute(select(func.count()).where(_key_id(place).in_(key_ids)))).scalar_one()
        for place in SEALED_COLUMNS
    ]
    return sum(counts)


async def replace_sealed(connection: AsyncConnection, place: SealedColumn, old: SealedValue, new: bytes) -> bool:
    """Put a value in the place of another one; return False if that was changed meanwhile, and nothing was done."""
    header = func.substr(place.column, 1, HEADER_BYTES)
    query = update(place.table).where(place.key == old.row_id, header == old.value[:HEADER_BYTES])
    return (await connection.execute(query.values({place.column.name: new}))).rowcount > 0


def _key_id(place: SealedColumn) -> ColumnElement[Any]:
    return func.substr(place.column, KEY_ID_OFFSET + 1, KEY_ID_BYTES)

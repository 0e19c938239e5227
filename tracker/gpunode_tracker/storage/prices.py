"""Published price tables, all versions: a job is paid by the version that its grant names."""

from gpunode_protocol.prices import DEFAULT_PRICES, PriceTable
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import price_tables
from gpunode_tracker.storage.upserts import insert_if_new


async def newest_prices(connection: AsyncConnection) -> PriceTable | None:
    """Return the prices in force."""
    query = select(price_tables.c.body).order_by(price_tables.c.version.desc()).limit(1)
    body = (await connection.execute(query)).scalar_one_or_none()
    return PriceTable.from_map(body) if body is not None else None


async def prices_of_version(connection: AsyncConnection, version: int) -> PriceTable:
    """Return the prices of a version, which must exist."""
    query = select(price_tables.c.body).where(price_tables.c.version == version)
    return PriceTable.from_map((await connection.execute(query)).scalar_one())


async def ensure_prices(connection: AsyncConnection) -> PriceTable:
    """Return the prices in force; the first time, publish the default ones. Needs a writing transaction."""
    found = await newest_prices(connection)
    if found is not None:
        return found
    await add_prices(connection, DEFAULT_PRICES)
    return await newest_prices(connection) or DEFAULT_PRICES


async def prices_before(connection: AsyncConnection, version: int, *, limit: int) -> list[PriceTable]:
    """Return tables, newest first, those before a version."""
    query = select(price_tables.c.body).where(price_tables.c.version < version).order_by(price_tables.c.version.desc())
    return [PriceTable.from_map(body) for body in (await connection.execute(query.limit(limit))).scalars()]


async def add_prices(connection: AsyncConnection, table: PriceTable) -> bool:
    """Publish a table; return False, and nothing is changed, if its version exists already."""
    return await insert_if_new(connection, price_tables, {"version": table.version, "body": table.to_map()})

"""Price tables by version."""

from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_tracker.storage.prices import (
    add_prices,
    ensure_prices,
    newest_prices,
    prices_before,
    prices_of_version,
)
from gpunode_tracker.storage.tables import price_tables
from gpunode_tracker.tracker import Tracker
from sqlalchemy import insert

from tests.tracker.databases import ON_BOTH

pytestmark = ON_BOTH


async def test_old_versions_stay(tracker: Tracker) -> None:
    """New prices are in force; jobs under an older grant are paid by the older table."""
    newer = DEFAULT_PRICES.model_copy(update={"version": 2, "models": {"m": DEFAULT_PRICES.tasks["llm"]}})
    async with tracker.database.write() as connection:
        assert await ensure_prices(connection) == DEFAULT_PRICES
        await connection.execute(insert(price_tables).values(version=2, body=newer.to_map()))
        assert await newest_prices(connection) == newer
        assert await ensure_prices(connection) == newer
        assert await prices_of_version(connection, 1) == DEFAULT_PRICES


async def test_publishing(tracker: Tracker) -> None:
    """Each version once; the history is newest first."""
    tables = [DEFAULT_PRICES.model_copy(update={"version": version}) for version in (2, 3)]
    async with tracker.database.write() as connection:
        assert [await add_prices(connection, table) for table in tables] == [True, True]
        assert not await add_prices(connection, tables[0].model_copy(update={"tasks": {}}))
        assert await newest_prices(connection) == tables[1]
        assert await prices_before(connection, 99, limit=2) == [tables[1], tables[0]]
        assert await prices_before(connection, 2, limit=2) == [DEFAULT_PRICES]

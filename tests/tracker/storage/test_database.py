"""Transactions on a real SQLite file: all or nothing, also when the disk is full."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from gpunode_protocol import tracker_api as api
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import InvalidRequest, StorageUnavailable
from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.documents import constant, find_constant
from gpunode_tracker.storage.failures import WHEN_REPAIRED_S
from gpunode_tracker.tracker import Tracker
from sqlalchemy import text

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH, ON_POSTGRESQL, ON_SQLITE
from tests.tracker.storage.queued_jobs import Queue, queued_job

_POOLED_CONNECTIONS = 5  # SQLAlchemy's default


@ON_SQLITE
async def test_writers_take_turns(tracker: Tracker) -> None:
    """Read, wait, write: no update of twenty concurrent ones is lost."""

    async def increase() -> None:
        async with tracker.database.write() as connection:
            value = int(await constant(connection, "counter", b"0"))
            await asyncio.sleep(0)
            await connection.execute(
                text("update meta set value = :value where key = 'counter'"), {"value": str(value + 1).encode()}
            )

    await asyncio.gather(*(increase() for _ in range(20)))
    async with tracker.database.read() as connection:
        assert await find_constant(connection, "counter") == b"20"


@ON_BOTH
async def test_an_error_undoes_everything(tracker: Tracker) -> None:
    """What fails half-way leaves nothing."""

    async def fail_half_way() -> None:
        async with tracker.database.write() as connection:
            await constant(connection, "half", b"x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_half_way()
    async with tracker.database.read() as connection:
        assert await find_constant(connection, "half") is None


@ON_SQLITE
async def test_a_full_disk_loses_nothing(world: World) -> None:
    """503 with Retry-After; what was settled stays, and the same batch settles when there is room again."""
    deal = await world.job()
    await world.settle(deal.job.partial(1))
    async with world.tracker.database.read() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
    await _limit_pages(world.tracker.database, pages)
    statuses = set()
    for count in range(2, 40):
        response = await world.post(api.SETTLEMENTS_PATH, api.SettlementBatch(items=(deal.job.partial(count),)))
        statuses.add(response.status)
        if response.status == 503:
            break
    assert statuses <= {200, 503}
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0
    assert (await world.get(api.HEALTH_PATH)).status == 200
    await _limit_pages(world.tracker.database, 2**30)
    assert (await world.settle(deal.job.partial(count)))[0].status == "settled"
    assert (await world.balance(token=deal.token)).spendable_microcredits == 30 * count


@ON_SQLITE
async def test_a_full_disk_loses_no_job(queue: Queue) -> None:
    """A job that did not fit is not there at all, one that is there can be taken, and both work when there is room."""
    await queue.add(queued_job(1))
    lease = await queue.lease()
    async with queue.database.read() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
    await _limit_pages(queue.database, pages)
    large = bytes(2**20)
    with pytest.raises(StorageUnavailable) as caught:
        await queue.add(queued_job(2, params=large))
    assert caught.value.retry_after_s == WHEN_REPAIRED_S
    with pytest.raises(StorageUnavailable):
        await queue.complete(lease, large)
    assert await queue.renew(lease)
    assert (await queue.find(1)).status is JobStatus.RUNNING
    await _limit_pages(queue.database, 2**30)
    await queue.add(queued_job(2, params=large))
    assert await queue.complete(lease, large) is not None
    assert [(await queue.find(1)).result, (await queue.find(2)).params] == [large, large]


@ON_POSTGRESQL
@pytest.mark.parametrize(
    "changes",
    [{"client_address": "a\0b"}, {"client_address": "\ud800"}, {"processing_ms": 2**63}, {"priority": 2**31}],
    ids=["nul", "surrogate", "64 bits", "32 bits"],
)
async def test_what_no_column_can_hold(queue: Queue, changes: dict[str, Any]) -> None:
    """A mistake of whoever sent it, so that it is not sent again and again."""
    with pytest.raises(InvalidRequest):
        await queue.add(queued_job(1, **changes))


async def _limit_pages(database: Database, pages: int) -> None:
    """Simulate a full disk on every pooled connection."""
    barrier = asyncio.Barrier(_POOLED_CONNECTIONS)
    async with asyncio.TaskGroup() as group:
        for _ in range(_POOLED_CONNECTIONS):
            group.create_task(_limit_connection(database, pages, barrier))


async def _limit_connection(database: Database, pages: int, barrier: asyncio.Barrier) -> None:
    async with database.read() as connection:
        await connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        await barrier.wait()  # hold it until the others have one of their own


@ON_SQLITE
async def test_another_process_that_writes_too_long(settings: TrackerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the busy timeout the request may be sent again soon."""
    monkeypatch.setattr("gpunode_tracker.storage.engines._PRAGMAS", ("busy_timeout=10",))
    database = Database(settings.sqlalchemy_url)
    other = sqlite3.connect(settings.sqlite_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable) as caught:
        async with database.write() as connection:
            await connection.execute(text("DELETE FROM bans"))
    other.close()
    await database.close()
    assert caught.value.retry_after_s == 1


async def test_an_unusable_file(tmp_path: Path) -> None:
    """A file that is no database is an error with a reason, not a traceback."""
    file = tmp_path / "tracker.db"
    file.write_text("this is not a database, but long enough to be looked at as one\n" * 20)
    database = Database(f"sqlite+aiosqlite:///{file}")
    with pytest.raises(StorageUnavailable, match="not a database"):
        await database.migrate()
    await database.close()

"""The database goes away and comes back: callers hear when to come again, nothing is half written, nobody restarts."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol import tracker_api as api
from gpunode_protocol.jobs_api import NEXT_JOB_PATH
from gpunode_tracker.administration import Administration
from gpunode_tracker.app import create_app
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import InvalidSettings, StorageUnavailable
from gpunode_tracker.storage import engines
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.documents import find_constant, replace_value
from gpunode_tracker.storage.engines import Timeouts
from gpunode_tracker.storage.failures import AFTER_RESTART_S, SOON_S, WHEN_REPAIRED_S
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.lease_watch import LeaseWatch
from sqlalchemy import text

from tests.needs import lacking
from tests.tracker.conftest import World
from tests.tracker.parties import TestClock
from tests.tracker.postgres import NO_POSTGRES, Postgres, find_binaries
from tests.tracker.pull_workers import pull_worker, submit

NAME = "tracker"
IMPATIENT = Timeouts(connect_s=0.3, lock_s=0.3, statement_s=0.3, silence_s=0.4)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this file's own, which its tests may stop."""
    binaries = find_binaries()
    if binaries is None:
        lacking("postgresql", NO_POSTGRES)
    with Postgres(binaries) as running:
        running.create_database(NAME)
        yield running


@pytest.fixture
async def database(own_postgres: Postgres) -> AsyncIterator[Database]:
    """A database there."""
    opened = Database(own_postgres.url(NAME))
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
def own_database(own_postgres: Postgres) -> Iterator[str]:
    """The URL of a database of the test's own, for a tracker with keys of its own."""
    with own_postgres.new_database() as url:
        yield url


async def _write(database: Database, value: bytes) -> None:
    async with database.write() as connection:
        await replace_value(connection, "value", value)


async def _read(database: Database) -> bytes | None:
    async with database.read() as connection:
        return await find_constant(connection, "value")


async def _refused(database: Database) -> tuple[StorageUnavailable, StorageUnavailable]:
    """Return why a reader and a writer are refused."""
    with pytest.raises(StorageUnavailable) as reading:
        await _read(database)
    with pytest.raises(StorageUnavailable) as writing:
        await _write(database, b"lost")
    return reading.value, writing.value


async def test_a_server_that_is_down_for_a_while(
    own_postgres: Postgres, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Come again in some seconds; the log says it once when it goes, and once when it is back."""
    await _write(database, b"before")
    own_postgres.stop()
    with caplog.at_level(logging.INFO, "gpunode_tracker"):
        for _ in range(3):
            assert [error.retry_after_s for error in await _refused(database)] == [AFTER_RESTART_S] * 2
        own_postgres.start()
        assert await _read(database) == b"before"
    await _write(database, b"after")
    assert await _read(database) == b"after"
    events = [record.__dict__["event"] for record in caplog.records]
    assert events == ["database_failed", "database_recovered"]


async def test_a_restart_between_two_requests_is_not_felt(own_postgres: Postgres, database: Database) -> None:
    """Connections that the server ended are replaced before they are used."""
    await asyncio.gather(*(_write(database, b"before") for _ in range(5)))
    await asyncio.to_thread(own_postgres.stop)  # meanwhile the event loop hears that they end
    await asyncio.to_thread(own_postgres.start)
    assert await asyncio.gather(*(_read(database) for _ in range(10))) == [b"before"] * 10


async def test_a_restart_in_the_middle_of_a_transaction(own_postgres: Postgres, database: Database) -> None:
    """Nothing of it is kept, and whoever asked may come again."""
    await _write(database, b"before")
    with pytest.raises(StorageUnavailable) as caught:
        await _write_across_a_restart(own_postgres, database)
    assert caught.value.retry_after_s == AFTER_RESTART_S
    assert await _read(database) == b"before"


async def _write_across_a_restart(server: Postgres, database: Database) -> None:
    async with database.write() as connection:
        await replace_value(connection, "value", b"half")
        server.end_connections(NAME)
        await find_constant(connection, "value")


async def test_a_connection_that_breaks_at_the_commit(own_postgres: Postgres, database: Database) -> None:
    """What was not answered may have been written or not, so nobody claims either."""
    await _write(database, b"before")
    with pytest.raises(StorageUnavailable, match=r"\(it does not answer\)\. Send it again"):
        await _write_and_break(own_postgres, database)
    assert await _read(database) == b"before"


async def _write_and_break(server: Postgres, database: Database) -> None:
    async with database.write() as connection:
        await replace_value(connection, "value", b"half")
        server.end_connections(NAME)


async def test_a_server_that_falls_silent(own_postgres: Postgres) -> None:
    """It takes connections and answers nothing: waiting has an end, and what hung is given up."""
    database = Database(own_postgres.url(NAME), IMPATIENT)
    await database.migrate()
    await _write(database, b"before")
    own_postgres.freeze()
    try:
        errors = [*await _refused(database), *await _refused(database)]
    finally:
        own_postgres.thaw()
    assert [error.retry_after_s for error in errors] == [AFTER_RESTART_S] * 4
    assert await _read(database) == b"before"
    await _write(database, b"after")
    assert await _read(database) == b"after"
    await database.close()


async def test_a_connection_that_was_idle_for_long_is_tried_first(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something in between may have forgotten it, and nobody said so."""
    database = Database(own_postgres.url(NAME), IMPATIENT)
    await database.migrate()
    await _write(database, b"before")
    async with database.read() as connection:
        old = (await connection.get_raw_connection()).dbapi_connection
    assert old is not None

    ping = type(old).ping

    def lose_the_old_one(connection: Any) -> None:
        if connection is old:
            raise TimeoutError
        ping(connection)

    monkeypatch.setattr(type(old), "ping", lose_the_old_one)
    assert await _read(database) == b"before"
    monkeypatch.setattr(engines, "PING_AFTER_S", -1)
    assert await _read(database) == b"before"
    assert old.driver_connection.is_closed()
    await database.close()


async def test_a_statement_that_takes_too_long(own_postgres: Postgres) -> None:
    """The server ends it."""
    database = Database(own_postgres.url(NAME), Timeouts(statement_s=0.1))
    with pytest.raises(StorageUnavailable, match="took too long") as caught:
        async with database.read() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))
    assert caught.value.retry_after_s == SOON_S
    await database.close()


async def test_two_who_wait_for_each_other(database: Database) -> None:
    """One of them is told to come again at once, and the other goes on."""
    async with database.write() as connection:
        for name in ("a", "b"):
            await replace_value(connection, name, b"0")
    barrier = asyncio.Barrier(2)

    async def write_both(first: str, second: str) -> None:
        async with database.write() as connection:
            await replace_value(connection, first, first.encode())
            await barrier.wait()
            await replace_value(connection, second, first.encode())

    results = await asyncio.gather(write_both("a", "b"), write_both("b", "a"), return_exceptions=True)
    (error,) = [result for result in results if result is not None]
    assert isinstance(error, StorageUnavailable)
    assert error.retry_after_s == SOON_S
    winner = b"a" if results[0] is None else b"b"
    async with database.read() as connection:
        assert [await find_constant(connection, name) for name in ("a", "b")] == [winner] * 2


async def test_more_requests_than_connections(own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has waited for one too long is told to come again at once."""
    for name, value in (("POOL_CONNECTIONS", 1), ("POOL_OVERFLOW", 0), ("_POOL_TIMEOUT_S", 0.01)):
        monkeypatch.setattr(engines, name, value)
    database = Database(own_postgres.url(NAME))
    async with database.read():
        errors = await _refused(database)
    assert [error.retry_after_s for error in errors] == [SOON_S] * 2
    await database.close()


async def test_a_database_that_is_not_there(own_postgres: Postgres) -> None:
    """Somebody has to make it."""
    database = Database(own_postgres.url("nowhere"))
    with pytest.raises(StorageUnavailable, match="no such database") as caught:
        await database.migrate()
    assert caught.value.retry_after_s == WHEN_REPAIRED_S
    await database.close()


@pytest.mark.parametrize("option", ["hunter2=1", "sslmode=hunter2"])
async def test_an_option_that_nobody_knows(own_postgres: Postgres, option: str) -> None:
    """A wrong setting; it is not repeated."""
    database = Database(f"{own_postgres.url(NAME)}&{option}")
    with pytest.raises(InvalidSettings) as caught:
        await database.migrate()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__
    await database.close()


async def test_http_over_an_outage(own_postgres: Postgres, tmp_path: Path) -> None:
    """503 with Retry-After while it lasts, health all the same; then the same process serves as before."""
    values = {"data_dir": tmp_path / "data", "mesh": False, "database_url": own_postgres.url(NAME)}
    tracker = await Tracker.open(TrackerSettings.load(values), TestClock())
    async with TestClient(TestServer(create_app(tracker))) as http:
        world = World(tracker, http, Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock))
        deal = await world.job()
        own_postgres.stop()
        batch = api.SettlementBatch(items=(deal.job.partial(7),))
        refused = [await world.post(api.SETTLEMENTS_PATH, batch), await world.get(api.BALANCE_PATH, key=deal.key)]
        refused.append(await world.get(api.READY_PATH))
        assert [response.status for response in refused] == [503] * 3
        assert {response.headers["Retry-After"] for response in refused} == {str(AFTER_RESTART_S)}
        assert (await refused[0].json())["code"] == "storage_unavailable"
        assert (await world.get(api.HEALTH_PATH)).status == 200
        own_postgres.start()
        assert [result.status for result in await world.settle(deal.job.partial(7))] == ["settled"]
        assert (await world.get(api.READY_PATH)).status == 200


async def test_jobs_over_half_a_minute_of_outage(own_postgres: Postgres, own_database: str, tmp_path: Path) -> None:
    """Clients and workers are told when to come again; no job is lost, taken away or done twice."""
    values = {"data_dir": tmp_path / "data", "mesh": False, "database_url": own_database}
    clock = TestClock()
    tracker = await Tracker.open(TrackerSettings.load(values), clock, clock)
    async with TestClient(TestServer(create_app(tracker))) as http:
        world = World(tracker, http, Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock))
        account, worker, leases = (await world.account())[0], await pull_worker(world), LeaseWatch(tracker)
        held, waiting = await submit(world, account, priority=1), await submit(world, account)
        assert (await worker.next_job()).job_id == held
        await leases.look()
        own_postgres.stop()
        clock.advance(31)
        refused = [await worker.get(NEXT_JOB_PATH), await worker.try_to_complete(held)]
        assert [(answer.status, answer.headers["Retry-After"]) for answer in refused] == [
            (503, str(AFTER_RESTART_S))
        ] * 2
        with pytest.raises(StorageUnavailable):
            await submit(world, account)
        with pytest.raises(StorageUnavailable):
            await leases.look()
        own_postgres.start()
        clock.advance(31)  # more than a lease since the worker was heard
        assert await leases.look() == 0
        assert (await worker.complete(held)).status == "completed"
        assert (await worker.next_job()).job_id == waiting
        assert (await worker.complete(waiting)).status == "completed"
        assert (await worker.next_job()).job_id is None

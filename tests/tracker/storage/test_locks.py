"""Named locks: where writers do not take turns, one transaction at a time holds one."""

import asyncio

import pytest
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.entries import Bookkeeper
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.documents import find_constant, replace_value
from gpunode_tracker.storage.engines import Timeouts
from gpunode_tracker.storage.locks import Lock, job_locks, keep_writers_out, take
from gpunode_tracker.storage.tables import transfers

from tests.tracker.databases import ON_BOTH, ON_POSTGRESQL
from tests.tracker.parties import START_AT

PATIENCE_S = 0.2


@ON_BOTH
async def test_read_think_write(database: Database) -> None:
    """Under a lock no update of twenty concurrent ones is lost."""

    async def increase() -> None:
        async with database.write() as connection:
            await take(connection, Lock.KEYS)
            value = int(await find_constant(connection, "counter") or b"0")
            await asyncio.sleep(0)
            await replace_value(connection, "counter", str(value + 1).encode())

    await asyncio.gather(*(increase() for _ in range(20)))
    async with database.read() as connection:
        assert await find_constant(connection, "counter") == b"20"


@ON_BOTH
async def test_no_lock_at_all(database: Database) -> None:
    """A batch without a job locks nothing."""
    async with database.write() as connection:
        await take(connection)


@ON_POSTGRESQL
async def test_several_locks_are_taken_in_one_order(database: Database) -> None:
    """Two who need the same ones never wait for each other, whatever order they name them in."""
    names = job_locks((f"client {number % 3}", f"job {number}") for number in range(20))

    async def hold(given: list[str]) -> None:
        async with database.write() as connection:
            await take(connection, *given)
            await asyncio.sleep(0)

    await asyncio.gather(*(hold(names[start:] + names[:start]) for start in range(20)))


@ON_POSTGRESQL
async def test_other_locks_are_free(settings: TrackerSettings) -> None:
    """Only the same name is waited for, and not for ever."""
    impatient = Database(settings.sqlalchemy_url, Timeouts(lock_s=PATIENCE_S))
    async with impatient.write() as holder:
        await take(holder, Lock.KEYS)
        async with impatient.write() as other:
            await take(other, Lock.REVOCATIONS)
        with pytest.raises(StorageUnavailable) as caught:
            async with impatient.write() as same:
                await take(same, Lock.REVOCATIONS, Lock.KEYS)
    await impatient.close()
    assert caught.value.retry_after_s == 1


@ON_POSTGRESQL
async def test_a_table_without_writers(settings: TrackerSettings) -> None:
    """Whoever keeps others out waits for those who have begun, and lets readers read."""
    impatient = Database(settings.sqlalchemy_url, Timeouts(lock_s=PATIENCE_S))
    entry = Bookkeeper("0" * 40, START_AT).issue("a", 1)
    async with impatient.write() as writer:
        await ledger.append(writer, entry)
        with pytest.raises(StorageUnavailable):
            async with impatient.write() as other:
                await keep_writers_out(other, transfers)
    async with impatient.write() as holder:
        await keep_writers_out(holder, transfers)
        async with impatient.read() as reader:
            assert await ledger.balance(reader, "account:a") == 1
        with pytest.raises(StorageUnavailable):
            async with impatient.write() as late:
                await ledger.append(late, Bookkeeper("0" * 40, START_AT).issue("a", 1))
    await impatient.close()

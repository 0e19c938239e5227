"""Which job an idempotency key named."""

from gpunode_tracker.storage.idempotency import UsedKey, find_used_key, forget_keys, remember_key
from gpunode_tracker.tracker import Tracker

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import Queue


async def used(tracker: Tracker, account: str, key: str, *, created_after: int) -> UsedKey | None:
    """Return what a key named."""
    async with tracker.database.read() as connection:
        return await find_used_key(connection, account, key, created_after=created_after)


async def test_a_key_names_a_job_for_a_time(world: World) -> None:
    """And only to its account; it may name another one later."""
    account, _ = await world.account()
    queue = Queue(world.tracker)
    jobs = [UsedKey((await queue.submit(account)).id, bytes([number]) * 32) for number in range(2)]
    for number, at in ((0, 100), (1, 200)):
        async with world.tracker.database.write() as connection:
            await remember_key(connection, account, "k", jobs[number], now=at)
        assert await used(world.tracker, account, "k", created_after=at - 1) == jobs[number]
        assert await used(world.tracker, account, "k", created_after=at) is None
    assert await used(world.tracker, "other", "k", created_after=0) is None


async def test_old_keys_are_forgotten_in_batches(world: World) -> None:
    """The oldest first."""
    account, _ = await world.account()
    job = (await Queue(world.tracker).submit(account)).id
    for number in range(5):
        async with world.tracker.database.write() as connection:
            await remember_key(connection, account, f"k{number}", UsedKey(job, b""), now=number)
    forgotten = []
    for _ in range(3):
        async with world.tracker.database.write() as connection:
            forgotten.append(await forget_keys(connection, created_before=4, limit=3))
    assert forgotten == [3, 1, 0]
    assert await used(world.tracker, account, "k4", created_after=0) is not None

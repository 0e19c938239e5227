"""Sealed values and their keys, on both databases."""

from gpunode_tracker.jobs.seals import JobSeals
from gpunode_tracker.sealing import key_id_of
from gpunode_tracker.storage.sealed_values import (
    SEALED_COLUMNS,
    SealedValue,
    count_sealed_with,
    replace_sealed,
    values_sealed_with,
)

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.jobs.queue_parties import ANSWER, Queue


@ON_BOTH
async def test_found_by_key_in_the_order_of_rows(world: World) -> None:
    """Page by page."""
    account, _ = await world.account()
    jobs = [await Queue(world.tracker).submit(account) for _ in range(5)]
    (key,) = world.tracker.sealer.keys
    place = SEALED_COLUMNS[0]
    async with world.tracker.database.read() as connection:
        first = await values_sealed_with(connection, place, [key.id], after="", limit=3)
        rest = await values_sealed_with(connection, place, [key.id], after=first[-1].row_id, limit=3)
        assert await values_sealed_with(connection, place, [b"none"], after="", limit=3) == []
    assert [value.row_id for value in (*first, *rest)] == sorted(job.id for job in jobs)
    assert {key_id_of(value.value) for value in (*first, *rest)} == {key.id}


@ON_BOTH
async def test_every_kind_is_counted(world: World) -> None:
    """Parameters, result, webhook: rows that have none do not count."""
    account, _ = await world.account()
    queue = Queue(world.tracker)
    await queue.submit(account, webhook="https://example.com/hook")
    (key,) = world.tracker.sealer.keys
    async with world.tracker.database.read() as connection:
        assert await count_sealed_with(connection, [key.id]) == 3
    _, lease = await queue.claim()
    assert await world.tracker.desk.complete(lease, ANSWER, processing_ms=1) is not None
    async with world.tracker.database.read() as connection:
        assert await count_sealed_with(connection, [key.id]) == 4
        assert await count_sealed_with(connection, [b"none"]) == 0


@ON_BOTH
async def test_what_changed_meanwhile_is_not_overwritten(world: World) -> None:
    """A job's new request, say."""
    account, _ = await world.account()
    job = await Queue(world.tracker).submit(account)
    place, other = SEALED_COLUMNS[0], world.tracker.sealer.seal(b"{}", f"jobs.params/{job.id}")
    async with world.tracker.database.write() as connection:
        assert not await replace_sealed(connection, place, SealedValue(job.id, other), b"new")
        assert await replace_sealed(connection, place, SealedValue(job.id, job.params), other)
    assert JobSeals(world.tracker.sealer).params_of(await Queue(world.tracker).job(job.id)) == {}


def test_contexts_are_those_of_the_seals() -> None:
    """``jobs.seals`` and this page name the same places."""
    assert [place.context("1") for place in SEALED_COLUMNS] == [
        "jobs.params/1",
        "jobs.result/1",
        "jobs.request/1",
        "webhooks.url/1",
        "webhooks.secret/1",
    ]

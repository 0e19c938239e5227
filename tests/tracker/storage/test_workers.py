"""The contract of the workers' table, on both databases."""

from gpunode_protocol.identity import Identity
from gpunode_tracker.storage import workers
from gpunode_tracker.storage.tables import bans, nodes
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.signs import SignOfLife
from gpunode_tracker.workers.statistics import Statistics
from gpunode_tracker.workers.tokens import TokenHashes
from gpunode_tracker.workers.worker import StoredWorker, WorkerStatus
from sqlalchemy import delete, insert

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT
from tests.tracker.workers.examples import stored_worker, worker_id

pytestmark = ON_BOTH

PEER = Identity.from_seed(b"w" * 32).peer_id
TOKEN, NEXT, AFTER = b"1" * 32, b"2" * 32, b"3" * 32


async def _add(tracker: Tracker, *added: StoredWorker) -> None:
    async with tracker.database.write() as connection:
        for worker in added:
            await workers.add_worker(connection, worker, worker.id[-12:].encode())


async def _find(tracker: Tracker, number: int = 1) -> StoredWorker | None:
    async with tracker.database.read() as connection:
        return await workers.find_worker(connection, worker_id(number))


async def test_a_worker_reads_back(tracker: Tracker) -> None:
    """As it was written; nobody else is found."""
    statistics = Statistics(avg_latency_ms=1_234, success_rate=0.875, total_jobs=7)
    worker = stored_worker(models=("a", "b"), supported_types=("llm", "whisper"), peer=PEER, statistics=statistics)
    await _add(tracker, worker)
    assert await _find(tracker) == worker
    assert await _find(tracker, 2) is None
    async with tracker.database.write() as connection:
        assert await workers.find_worker(connection, worker.id, lock=True) == worker
        assert await workers.worker_of_peer(connection, PEER) == worker
        assert await workers.worker_of_peer(connection, "other") is None


async def test_whose_token_it_is(tracker: Tracker) -> None:
    """By its hash, the old one until its time is over."""
    async with tracker.database.write() as connection:
        await workers.add_worker(connection, stored_worker(), TOKEN)
        assert not await workers.rotate_token(connection, worker_id(1), TokenHashes(AFTER, NEXT, START_AT))
        assert await workers.rotate_token(connection, worker_id(1), TokenHashes(NEXT, TOKEN, START_AT + 60))
        found = await workers.worker_of_token(connection, NEXT, now=START_AT)
        assert found is not None
        assert (found.worker, found.tokens) == (stored_worker(), TokenHashes(NEXT, TOKEN, START_AT + 60))
        assert await workers.worker_of_token(connection, TOKEN, now=START_AT + 59) is not None
        assert await workers.worker_of_token(connection, TOKEN, now=START_AT + 60) is None
        assert await workers.worker_of_token(connection, AFTER, now=START_AT) is None


async def test_a_worker_that_left(tracker: Tracker) -> None:
    """Its tokens end; its row stays, out of the list."""
    async with tracker.database.write() as connection:
        await workers.add_worker(connection, stored_worker(), TOKEN)
        await workers.rotate_token(connection, worker_id(1), TokenHashes(NEXT, TOKEN, START_AT + 60))
        await workers.deregister(connection, worker_id(1), now=START_AT + 5)
        for token in (TOKEN, NEXT):
            assert await workers.worker_of_token(connection, token, now=START_AT) is None
        assert await workers.workers_page(connection, limit=9) == []
        found = await workers.find_worker(connection, worker_id(1))
        assert found is not None
        assert (found.deregistered_at, found.status) == (START_AT + 5, WorkerStatus.OFFLINE)


async def test_a_key_that_registers_again(tracker: Tracker) -> None:
    """The row is written over, the statistics stay; of several rows, the one that did not leave counts."""
    statistics = Statistics(success_rate=0.5, total_jobs=9)
    async with tracker.database.write() as connection:
        await workers.add_worker(connection, stored_worker(1, peer=PEER, registered_at=START_AT + 9), TOKEN)
        await workers.deregister(connection, worker_id(1), now=START_AT + 10)
        await workers.add_worker(connection, stored_worker(2, peer=PEER, statistics=statistics), NEXT)
        await workers.rotate_token(connection, worker_id(2), TokenHashes(AFTER, NEXT, START_AT + 60))
        await workers.replace_worker(connection, stored_worker(2, peer=PEER, name="again"), TOKEN)
        known = await workers.worker_of_peer(connection, PEER)
        assert known == stored_worker(2, peer=PEER, name="again", statistics=statistics)
        for token in (NEXT, AFTER):
            assert await workers.worker_of_token(connection, token, now=START_AT) is None
        assert await workers.worker_of_token(connection, TOKEN, now=START_AT) is not None


async def test_bans(tracker: Tracker) -> None:
    """Of the worker or of its key, while they are in force; and keys that the operator revoked."""
    async with tracker.database.write() as connection:
        await workers.add_worker(connection, stored_worker(peer=PEER), TOKEN)

        async def reason(now: int = START_AT) -> str | None:
            found = await workers.worker_of_token(connection, TOKEN, now=now)
            assert found is not None
            assert await workers.ban_of(connection, worker_id(1), PEER, now=now) == found.ban
            return found.ban

        assert await reason() is None
        for kind, subject, expected in (
            ("worker", worker_id(1), "spam"),
            ("node", PEER, "spam"),
            ("worker", PEER, None),
            ("address", worker_id(1), None),
        ):
            row = {"kind": kind, "subject": subject, "reason": "spam", "created_at": 1, "until": START_AT + 10}
            await connection.execute(insert(bans).values(**row))
            assert (await reason(), await reason(START_AT + 10)) == (expected, None)
            await connection.execute(delete(bans))
        node = {"peer": PEER, "name": "", "country": "", "gpu_model": "", "gpu_memory_mb": 0, "supported_tasks": []}
        await connection.execute(insert(nodes).values(**node, registered_at=1, revoked_at=2))
        found = await workers.worker_of_token(connection, TOKEN, now=START_AT)
        assert found is not None
        assert found.ban is not None


async def test_pages(tracker: Tracker) -> None:
    """By id, filtered by region, type and status."""
    await _add(
        tracker,
        stored_worker(1),
        stored_worker(2, region="asia", supported_types=("image_gen",)),
        stored_worker(3, status=WorkerStatus.ONLINE, supported_types=("llm", "whisper")),
    )

    async def page(limit: int = 9, **filters: str) -> list[str]:
        async with tracker.database.read() as connection:
            found = await workers.workers_page(connection, limit=limit, **filters)  # type: ignore[arg-type]  # -- texts
        return [worker.name for worker in found]

    assert await page() == ["worker 1", "worker 2", "worker 3"]
    assert await page(2) == ["worker 1", "worker 2"]
    assert await page(2, after_id=worker_id(2)) == ["worker 3"]
    assert await page(region="asia") == ["worker 2"]
    assert await page(task="llm") == ["worker 1", "worker 3"]
    assert await page(task="image_gen") == ["worker 2"]
    assert await page(status="online") == ["worker 3"]


async def test_signs_of_life(tracker: Tracker) -> None:
    """Many at once; statistics and maintenance are not touched by them."""
    await _add(tracker, stored_worker(1, maintenance=True), stored_worker(2))
    signs = [
        SignOfLife(
            id=worker_id(number),
            status=WorkerStatus.BUSY,
            last_heartbeat=START_AT + number,
            gpu_memory_gb=8.0,
            memory_used_gb=1.5,
            supported_types=("whisper",),
            models=("m",),
        )
        for number in (1, 2)
    ]
    async with tracker.database.write() as connection:
        await workers.write_signs_of_life(connection, [])
        await workers.write_signs_of_life(connection, signs)
    for number, maintenance in ((1, True), (2, False)):
        assert await _find(tracker, number) == stored_worker(
            number,
            maintenance=maintenance,
            status=WorkerStatus.BUSY,
            last_heartbeat=START_AT + number,
            gpu_memory_gb=8.0,
            memory_used_gb=1.5,
            supported_types=("whisper",),
            models=("m",),
        )


async def test_statistics_and_maintenance(tracker: Tracker) -> None:
    """Each by itself."""
    await _add(tracker, stored_worker())
    statistics = Statistics(avg_latency_ms=5, success_rate=0.25, total_jobs=3)
    async with tracker.database.write() as connection:
        await workers.save_statistics(connection, worker_id(1), statistics)
        await workers.set_maintenance(connection, worker_id(1), enabled=True)
    assert await _find(tracker) == stored_worker(statistics=statistics, maintenance=True)


async def test_who_was_heard(tracker: Tracker) -> None:
    """In pages by id, without those who left or were silent; and the silent are written off."""
    heard = {"last_heartbeat": START_AT, "status": WorkerStatus.ONLINE}
    silent = {"last_heartbeat": START_AT - 200, "status": WorkerStatus.BUSY}
    await _add(
        tracker,
        stored_worker(1, **heard),
        stored_worker(2, **silent),
        stored_worker(3, **heard, deregistered_at=START_AT),
        stored_worker(4, **heard),
        stored_worker(5),
        stored_worker(6, last_heartbeat=START_AT - 9_000, status=WorkerStatus.ONLINE),
    )
    async with tracker.database.write() as connection:

        async def page(after_id: str) -> list[str]:
            found = await workers.vitals_since(connection, START_AT - 150, now=START_AT, after_id=after_id, limit=1)
            assert [(each.last_heartbeat, each.statistics, each.ban) for each in found] in (
                [],
                [(START_AT, Statistics(), None)],
            )
            return [each.id for each in found]

        assert [await page(after) for after in ("", worker_id(1), worker_id(4))] == [[worker_id(1)], [worker_id(4)], []]
        some = await workers.find_workers(connection, [worker_id(1), worker_id(9)])
        assert [worker.id for worker in some] == [worker_id(1)]
        await workers.mark_silent(connection, heard_before=START_AT - 150, heard_after=START_AT - 3_600)
        statuses = [(await workers.find_worker(connection, worker_id(number))).status for number in (1, 2, 6)]  # type: ignore[union-attr]  # -- they are there
        assert statuses == [WorkerStatus.ONLINE, WorkerStatus.OFFLINE, WorkerStatus.ONLINE]

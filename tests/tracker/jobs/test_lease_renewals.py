"""Renewing leases together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs.job import Lease, worker_holder
from gpunode_tracker.jobs.lease_renewals import FRESH_S, LeaseRenewals
from gpunode_tracker.storage.jobs import find_job
from gpunode_tracker.storage.workers import add_worker
from gpunode_tracker.tracker import Tracker

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT, TestClock, job_id
from tests.tracker.workers.examples import stored_worker, worker_id
from tests.tracker.workers.queued import add_jobs, claim, queued_job

HOLDER = worker_holder(worker_id(1))


def _lease(number: int, attempt: int = 1) -> Lease:
    return Lease(job_id=job_id(number), holder=HOLDER, attempt=attempt)


class Scene:
    """Three jobs of a worker, and renewals whose transactions can be held up or fail."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.writes = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: BaseException | None = None
        self.renewals = LeaseRenewals(self, lambda: tracker.now, tracker.monotonic)  # type: ignore[arg-type]  # -- stands in for the database

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Any]:
        """See ``Database.write``."""
        self.writes += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        async with self.tracker.database.write() as connection:
            yield connection

    async def expiry(self, number: int) -> int:
        """Return how long a lease lasts, in seconds after the start."""
        async with self.tracker.database.read() as connection:
            job = await find_job(connection, job_id(number))
        assert job is not None
        return (job.lease_expires_at or 0) - START_AT


@pytest.fixture
async def scene(tracker: Tracker) -> Scene:
    """The scene."""
    async with tracker.database.write() as connection:
        await add_worker(connection, stored_worker(), b"t")
    await add_jobs(tracker, *(queued_job(number) for number in range(1, 4)))
    for _ in range(3):
        await claim(tracker, worker_id(1))
    return Scene(tracker)


@ON_BOTH
async def test_who_holds_what(scene: Scene, clock: TestClock) -> None:
    """Leases in force last a minute longer; others are not renewed and not returned."""
    clock.advance(30)
    other = Lease(job_id=job_id(2), holder=worker_holder(worker_id(2)), attempt=1)
    asked = [_lease(1), _lease(2, attempt=2), other, _lease(9)]
    assert await scene.renewals.renew(asked) == {_lease(1)}
    assert [await scene.expiry(number) for number in (1, 2, 3)] == [90, 60, 60]
    assert await scene.renewals.renew([]) == frozenset()
    assert scene.writes == 1


async def test_what_comes_meanwhile_is_written_together(scene: Scene, clock: TestClock) -> None:
    """While one transaction runs, all others wait for the next one; each gets its own answer."""
    clock.advance(30)
    scene.gate.clear()
    first = asyncio.create_task(scene.renewals.renew([_lease(1)]))
    await asyncio.sleep(0)
    others = [asyncio.create_task(scene.renewals.renew([lease])) for lease in (_lease(2), _lease(3), _lease(9))]
    await asyncio.sleep(0)
    scene.gate.set()
    assert await first == {_lease(1)}
    assert await asyncio.gather(*others) == [{_lease(2)}, {_lease(3)}, set()]
    assert scene.writes == 2


async def test_fresh_leases(scene: Scene, clock: TestClock) -> None:
    """Are believed for some seconds where that is enough, unless they were found lost or ended."""
    assert await scene.renewals.renew([_lease(1)], unless_fresh=True) == {_lease(1)}
    assert await scene.renewals.renew([_lease(1)], unless_fresh=True) == {_lease(1)}
    assert scene.writes == 1
    scene.renewals.forget(_lease(1))
    await scene.renewals.renew([_lease(1)], unless_fresh=True)
    clock.advance(FRESH_S + 1)
    await scene.renewals.renew([_lease(1)], unless_fresh=True)
    await scene.renewals.renew([_lease(1)])
    assert scene.writes == 4


async def test_a_database_that_is_away(scene: Scene) -> None:
    """All who waited for the transaction are told; the next one may work."""
    scene.failure = StorageUnavailable()
    scene.gate.clear()
    tasks = [asyncio.create_task(scene.renewals.renew([_lease(number)])) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    scene.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StorageUnavailable] * 3
    scene.failure = None
    assert await scene.renewals.renew([_lease(1)]) == {_lease(1)}


async def test_who_leaves_takes_nobody_along(scene: Scene) -> None:
    """When a request is cancelled in its transaction, the next one writes what they had in common."""
    scene.gate.clear()
    leader = asyncio.create_task(scene.renewals.renew([_lease(1)]))
    await asyncio.sleep(0)
    second = asyncio.create_task(scene.renewals.renew([_lease(2)]))
    third = asyncio.create_task(scene.renewals.renew([_lease(3)]))
    await asyncio.sleep(0)
    leader.cancel()
    await asyncio.wait({leader})
    second.cancel()
    await asyncio.wait({second})
    scene.gate.set()
    assert await third == {_lease(3)}
    assert scene.writes == 3


async def test_memory_is_bounded(scene: Scene, clock: TestClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fresh no more is forgotten when there is much of it."""
    monkeypatch.setattr("gpunode_tracker.jobs.lease_renewals.MAX_FRESH", 2)
    for number in (1, 2, 3):
        await scene.renewals.renew([_lease(number)])
        clock.advance(FRESH_S + 1)
    assert set(scene.renewals._fresh) == {_lease(3)}

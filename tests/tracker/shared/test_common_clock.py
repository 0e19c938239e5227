"""The clock on which trackers of one database agree, whatever their own ones say."""

import logging
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.jobs.job import Lease, worker_holder
from gpunode_tracker.shared.common_clock import MAX_DIFFERENCE_S, SLOW_LOOK_S, CommonClock
from gpunode_tracker.storage.claim_statements import ANY_AGE
from gpunode_tracker.storage.workers import add_worker
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.lease_watch import LeaseWatch
from gpunode_tracker.workers.worker import WorkerStatus

from tests.tracker.databases import ON_POSTGRESQL, ON_SQLITE
from tests.tracker.parties import TestClock, job_id
from tests.tracker.workers.examples import stored_worker, worker_id
from tests.tracker.workers.queued import add_jobs, queued_job

HOUR_S = 3_600.0


class _Database:
    """A database whose machine has a clock of its own, and takes its time to answer."""

    is_shared = True

    def __init__(self, clock: TestClock, monotonic: TestClock) -> None:
        self.clock, self.monotonic, self.takes_s = clock, monotonic, 0.0

    async def time(self) -> float:
        """Return the time; the answer's way back takes as long as the question's."""
        self.monotonic.advance(self.takes_s / 2)
        now = self.clock()
        self.monotonic.advance(self.takes_s / 2)
        return now


class _Scene:
    """A clock that was not read yet, and all that it looks at."""

    def __init__(self) -> None:
        self.own, self.theirs, self.monotonic = TestClock(1_000.0), TestClock(1_000.0), TestClock(50.0)
        self.database = _Database(self.theirs, self.monotonic)
        self.clock = CommonClock(self.own)

    async def look(self) -> None:
        await self.clock.look(self)  # type: ignore[arg-type]  # -- it needs these two of a tracker

    def pass_by(self, seconds: float) -> None:
        for clock in (self.own, self.theirs, self.monotonic):
            clock.advance(seconds)


async def test_without_a_look_it_is_the_own_one() -> None:
    """As it is on SQLite."""
    scene = _Scene()
    assert not scene.clock.is_followed
    assert scene.clock() == 1_000
    assert scene.clock.ahead_s == 0


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S, 2.0])
async def test_it_goes_by_the_databases_clock(ahead_s: float) -> None:
    """Also where the own one is hours off."""
    scene = _Scene()
    scene.own.advance(ahead_s)
    await scene.look()
    scene.pass_by(3)
    assert scene.clock.is_followed
    assert scene.clock() == scene.theirs()
    assert scene.clock.ahead_s == ahead_s


async def test_an_own_clock_that_is_set_moves_nothing() -> None:
    """Between two looks a monotonic clock goes on."""
    scene = _Scene()
    await scene.look()
    scene.own.advance(-HOUR_S)
    scene.pass_by(2)
    assert scene.clock() == 1_002


async def test_a_slow_answer_says_nothing() -> None:
    """The time may be anything within it."""
    scene = _Scene()
    await scene.look()
    scene.theirs.advance(1)
    scene.database.takes_s = SLOW_LOOK_S + 1
    before = scene.clock()
    await scene.look()
    assert scene.clock() == before + scene.database.takes_s


async def test_the_operator_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """That the clocks differ, and that they agree again."""
    caplog.set_level(logging.INFO)
    scene = _Scene()
    await scene.look()
    scene.own.advance(-MAX_DIFFERENCE_S - 1)
    for _ in range(2):
        await scene.look()
    scene.own.advance(MAX_DIFFERENCE_S)
    await scene.look()
    assert [record.__dict__["event"] for record in caplog.records] == ["clock_differs", "clock_agrees"]
    assert "6 s behind the database's" in caplog.text


@ON_SQLITE
async def test_a_tracker_alone_goes_by_its_own(tracker: Tracker, clock: TestClock) -> None:
    """There is nobody on SQLite to agree with."""
    await tracker.common_clock.follow(tracker)
    assert not tracker.common_clock.is_followed
    assert tracker.common_clock() == clock()


@pytest.fixture
async def trackers(settings: TrackerSettings) -> AsyncIterator[tuple[Tracker, Tracker]]:
    """Two trackers on one PostgreSQL; the second one's clock is an hour ahead."""
    async with AsyncExitStack() as stack:
        opened = []
        for name, ahead_s in (("first", 0.0), ("second", HOUR_S)):
            folder = settings.data_dir.with_name(name)
            shutil.copytree(settings.data_dir, folder)
            tracker = await Tracker.open(
                settings.model_copy(update={"data_dir": folder}), TestClock(time.time() + ahead_s)
            )
            stack.push_async_callback(tracker.close)
            await tracker.common_clock.follow(tracker)
            opened.append(tracker)
        yield opened[0], opened[1]


@ON_POSTGRESQL
async def test_a_tracker_that_is_ahead_takes_no_jobs_from_workers_that_live(
    trackers: tuple[Tracker, Tracker],
) -> None:
    """What one gives and renews has not ended for the other; either one's leases last as long as they should."""
    first, second = trackers
    watches = [LeaseWatch(tracker) for tracker in trackers]
    for watch in watches:
        await watch.look()
    async with first.database.write() as connection:
        await add_worker(connection, stored_worker(), b"t")
    await add_jobs(first, queued_job(1), queued_job(2))
    for giving, renewing, number in ((first, second, 1), (second, first, 2)):
        live = giving.workers.presence.meet(stored_worker(), {}, read_at=giving.monotonic())
        job = await giving.workers.taking._claim(live, ("llm/*/*",), ANY_AGE)
        assert job is not None
        assert job.id == job_id(number)
        assert [await watch.look() for watch in watches] == [0, 0]
        lease = Lease(job_id=job_id(number), holder=worker_holder(worker_id(1)), attempt=1)
        assert await renewing.workers.renewals.renew((lease,)) == {lease}
        assert [await watch.look() for watch in watches] == [0, 0]
    for tracker in trackers:
        tracker.common_clock._offset_s = (tracker.common_clock._offset_s or 0) + 61
    assert await first.workers.outcomes.expire_leases() == 2


@ON_POSTGRESQL
async def test_a_tracker_that_is_ahead_tells_by_how_much(trackers: tuple[Tracker, Tracker]) -> None:
    """In its metrics."""
    told = trackers[1].metrics.render().decode()
    (value,) = re.findall(r"^gpunode_tracker_clock_ahead_seconds (\S+)$", told, re.MULTILINE)
    assert abs(float(value) - HOUR_S) < 60


@ON_POSTGRESQL
async def test_a_tracker_that_is_ahead_knows_who_lives(trackers: tuple[Tracker, Tracker]) -> None:
    """It reads what the other one wrote, and takes nobody for silent."""
    first, second = trackers
    async with first.database.write() as connection:
        await add_worker(connection, stored_worker(), b"t")
    presence = first.workers.presence
    presence.asks(presence.meet(stored_worker(), {}, read_at=first.monotonic()))
    await first.workers.sync.flush()
    await second.workers.sync.read()
    assert second.workers.presence.status_of(worker_id(1)) is WorkerStatus.ONLINE

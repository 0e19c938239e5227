"""Leases, and clocks that are set."""

import logging

import pytest
from gpunode_tracker.storage.jobs import find_job
from gpunode_tracker.storage.workers import add_worker
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.lease_watch import LEASE_INTERVAL_S, LeaseWatch

from tests.tracker.databases import ON_POSTGRESQL
from tests.tracker.parties import TestClock, job_id
from tests.tracker.workers.examples import stored_worker, worker_id
from tests.tracker.workers.queued import add_jobs, claim, queued_job


class Scene:
    """A job that a worker holds, and a watch that has looked once."""

    def __init__(self, tracker: Tracker, clock: TestClock) -> None:
        self.tracker, self.clock, self.monotonic = tracker, clock, TestClock(0)
        tracker.monotonic = self.monotonic
        self.watch = LeaseWatch(tracker)

    async def look(self, seconds: float) -> int:
        """Let time pass and look as often as a tracker does; return how many leases went."""
        expired = 0
        while seconds > 0:
            step_s = min(seconds, LEASE_INTERVAL_S)
            self.clock.advance(step_s)
            self.monotonic.advance(step_s)
            expired += await self.watch.look()
            seconds -= step_s
        return expired

    async def lease_s(self) -> float:
        """Return how long the lease still lasts."""
        async with self.tracker.database.read() as connection:
            job = await find_job(connection, job_id(1))
        assert job is not None
        assert job.lease_expires_at is not None
        return job.lease_expires_at - self.clock()


@pytest.fixture
async def scene(tracker: Tracker, clock: TestClock) -> Scene:
    """The scene."""
    scene = Scene(tracker, clock)
    await scene.watch.look()
    async with tracker.database.write() as connection:
        await add_worker(connection, stored_worker(), b"t")
    await add_jobs(tracker, queued_job(1))
    await claim(tracker, worker_id(1))
    return scene


async def test_a_silent_worker(scene: Scene) -> None:
    """Is found out when its minute is over."""
    assert await scene.look(55) == 0
    assert await scene.look(5) == 1


@pytest.mark.parametrize("jump_s", [3_600, -3_600])
async def test_a_clock_that_is_set(scene: Scene, jump_s: float, caplog: pytest.LogCaptureFixture) -> None:
    """No lease is lost to it, and none lasts longer than a minute from then on."""
    caplog.set_level(logging.WARNING)
    await scene.look(30)
    scene.clock.advance(jump_s)
    assert await scene.look(5) == 0
    assert await scene.lease_s() == 60
    assert [record.__dict__["event"] for record in caplog.records] == ["leases_begin_anew"]
    assert await scene.look(55) == 0
    assert await scene.look(5) == 1


async def test_back_and_forth(scene: Scene) -> None:
    """Set wrong and right again: each time the leases begin anew."""
    scene.clock.advance(-3_600)
    assert await scene.look(10) == 0
    scene.clock.advance(3_600)
    assert await scene.look(5) == 0
    assert await scene.lease_s() == 60


async def test_a_tracker_that_was_away(scene: Scene) -> None:
    """Workers could not be heard meanwhile: what would have expired begins anew."""
    scene.clock.advance(600)
    scene.monotonic.advance(600)
    assert await scene.watch.look() == 0
    assert await scene.lease_s() == 60


async def test_the_first_look_after_a_start(scene: Scene) -> None:
    """Likewise: a restart takes no job from a worker that lives."""
    scene.clock.advance(600)
    scene.monotonic.advance(600)
    assert await LeaseWatch(scene.tracker).look() == 0
    assert await scene.lease_s() == 60


async def test_a_short_pause(scene: Scene) -> None:
    """Is none: looks may be late by some seconds."""
    scene.clock.advance(25)
    scene.monotonic.advance(25)
    assert await scene.watch.look() == 0
    assert await scene.lease_s() == 35


@ON_POSTGRESQL
async def test_the_first_look_beside_another_tracker(scene: Scene) -> None:
    """That one watched all the time, so a start here is no reason to wait longer for a worker that is gone."""
    await scene.look(40)
    assert await LeaseWatch(scene.tracker).look() == 0
    assert await scene.lease_s() == 20
    assert await scene.look(20) == 1


@ON_POSTGRESQL
async def test_a_tracker_that_was_away_alone(scene: Scene) -> None:
    """Likewise: the others could be heard meanwhile."""
    other = LeaseWatch(scene.tracker)
    await other.look()
    await scene.look(40)
    assert await other.look() == 0
    assert await scene.lease_s() == 20


@ON_POSTGRESQL
async def test_all_trackers_were_away(scene: Scene) -> None:
    """The first one that is back lets the leases begin anew, and the next one does not do so once more."""
    scene.clock.advance(600)
    scene.monotonic.advance(600)
    assert await LeaseWatch(scene.tracker).look() == 0
    assert await scene.lease_s() == 60
    assert await scene.look(10) == 0
    assert await scene.lease_s() == 50
    assert await LeaseWatch(scene.tracker).look() == 0
    assert await scene.lease_s() == 50


@ON_POSTGRESQL
@pytest.mark.parametrize("other_s", [-3_600, 3_600])
async def test_the_other_trackers_word_is_of_another_clock(scene: Scene, other_s: int) -> None:
    """It says nothing then."""
    await scene.look(40)
    scene.clock.advance(other_s)
    assert await LeaseWatch(scene.tracker).look() == 0
    assert await scene.lease_s() == 60

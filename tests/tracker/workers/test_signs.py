"""The contract of what carries workers' signs of life between trackers: the database, and Redis beside it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from gpunode_tracker.errors import StorageUnavailable, TrackerError
from gpunode_tracker.shared.redis_link import RedisAway, RedisLink
from gpunode_tracker.shared.redis_presence import RedisPresence
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.presence import SILENT_S, WRITE_INTERVAL_S
from gpunode_tracker.workers.signs import PresenceStore
from gpunode_tracker.workers.worker import WorkerStatus

from tests.tracker.conftest import World
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import PullWorker, pull_worker
from tests.tracker.shared.conftest import PATIENT_S

ONLINE, BUSY, OFFLINE = WorkerStatus


class Pair:
    """Two trackers, a worker that both know, and a store between them. away: lets the first one's store fail."""

    def __init__(self, one: World, two: Tracker, clock: TestClock, stores: tuple[PresenceStore, PresenceStore]) -> None:
        self.one, self.two, self.clock = one, two, clock
        self.here, self.there = stores

    async def meet(self) -> PullWorker:
        """Return a worker that was just heard at the first, and is known at both."""
        worker = await pull_worker(self.one, models=["m"])
        await worker.heartbeat()
        await self.one.tracker.workers.sync.flush()
        await self.two.workers.sync.read()
        await self.carry()
        return worker

    async def carry(self) -> None:
        """Let the first one tell and the second one hear."""
        await self.here.flush()
        await self.there.read()

    def status(self, worker: PullWorker) -> WorkerStatus:
        """What the second one says of it."""
        return self.two.workers.presence.status_of(worker.id)


@pytest.fixture(params=["database", "redis"])
async def pair(request: pytest.FixtureRequest, world: World, clock: TestClock) -> AsyncIterator[Pair]:
    """The pair, on each store."""
    other = await Tracker.open(world.tracker.settings, clock, clock)
    world.tracker.workers.presence.monotonic = clock
    async with AsyncExitStack() as stack:
        stack.push_async_callback(other.close)
        if request.param == "database":
            yield Pair(world, other, clock, (world.tracker.workers.sync, other.workers.sync))
            return
        server, stores = request.getfixturevalue("redis_server"), []
        for tracker in (world.tracker, other):
            link = RedisLink(server.url, f"gpunode:{world.network}", timeout_s=PATIENT_S)
            await link.start()
            stack.push_async_callback(link.stop)
            stores.append(RedisPresence(link, tracker.workers.presence, on_dropped=pytest.fail))
        yield Pair(world, other, clock, (stores[0], stores[1]))


async def test_who_is_heard_at_one_is_there_at_the_other(pair: Pair) -> None:
    """As long as it is heard, with what it says; and off when it is silent."""
    worker = await pair.meet()
    for _ in range(4):
        pair.clock.advance(SILENT_S - 60)
        await worker.heartbeat("busy", gpu_info={"memory_used": 3}, models=["m", "n"])
        await pair.carry()
        assert pair.status(worker) is BUSY
    live = pair.two.workers.presence.find(worker.id)
    assert live is not None
    assert (live.stored.memory_used_gb, tuple(live.stored.models)) == (3, ("m", "n"))
    assert pair.two.workers.presence.heard_at_unix(live) == int(pair.clock())
    pair.clock.advance(SILENT_S + 1)
    assert pair.status(worker) is OFFLINE


async def test_who_leaves_is_off_everywhere(pair: Pair) -> None:
    """By its own word."""
    worker = await pair.meet()
    pair.clock.advance(WRITE_INTERVAL_S)
    await worker.heartbeat("offline")
    await pair.carry()
    assert pair.status(worker) is OFFLINE


async def test_the_later_word_counts(pair: Pair) -> None:
    """A worker goes to the other tracker; what the first one tells late of it changes nothing."""
    worker = await pair.meet()
    pair.clock.advance(WRITE_INTERVAL_S)
    await worker.heartbeat("busy")
    pair.clock.advance(5)
    live = await pair.two.workers.find(worker.token)
    assert live is not None
    pair.two.workers.presence.hear(live)
    live.stated = ONLINE
    await pair.carry()
    assert live.stated is ONLINE
    await pair.there.flush()
    await pair.here.read()
    assert pair.one.tracker.workers.presence.status_of(worker.id) is ONLINE


async def test_a_store_that_is_away(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost: it is told with the next try."""
    worker = await pair.meet()
    pair.clock.advance(WRITE_INTERVAL_S)
    await worker.heartbeat("busy")

    async def fail(*_: object) -> None:
        raise RedisAway if isinstance(pair.here, RedisPresence) else StorageUnavailable

    with monkeypatch.context() as broken:
        broken.setattr("gpunode_tracker.workers.live_sync.workers.write_signs_of_life", fail)
        broken.setattr(RedisLink, "call", fail)
        with pytest.raises(TrackerError):
            await pair.here.flush()
    await pair.carry()
    assert pair.status(worker) is BUSY


async def test_what_says_nothing_new_is_not_told(pair: Pair) -> None:
    """Workers are heard often."""
    worker = await pair.meet()
    pair.clock.advance(1)
    await worker.heartbeat()
    assert await pair.here.flush() == 0

"""Two trackers of one network, behind HTTP: with Redis, without it, and while it comes and goes."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_protocol.signing import Envelope
from gpunode_tracker.administration import Administration
from gpunode_tracker.app import create_app
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.jobs.news import Word
from gpunode_tracker.limits import Limits
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.worker import WorkerStatus

from tests.tracker.conftest import World
from tests.tracker.databases import ON_POSTGRESQL, ON_SQLITE
from tests.tracker.jobs.queue_parties import ANSWER, Queue
from tests.tracker.parties import TestClock, advert
from tests.tracker.pull_workers import pull_worker
from tests.tracker.redis_server import Redis
from tests.tracker.shared.conftest import PATIENT_S

WAIT_S = 60
FEW = Limits(rates={"address": {"per_minute": 1, "burst": 6}})  # type: ignore[dict-item]  # -- as in TOML


@asynccontextmanager
async def running(settings: TrackerSettings, clock: TestClock, **changes: object) -> AsyncIterator[World]:
    """Serve a tracker; its link to Redis looks often."""
    tracker = await Tracker.open(settings.model_copy(update=changes), clock)
    if tracker.replica.link is not None:
        tracker.replica.link._watch_interval_s = 0.02
    async with TestClient(TestServer(create_app(tracker))) as http:
        yield World(tracker, http, Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock))


@asynccontextmanager
async def pair(settings: TrackerSettings, clock: TestClock, **changes: object) -> AsyncIterator[tuple[World, World]]:
    """Serve two trackers on one database; the second one's data folder is a copy of the first's."""
    other = Path(shutil.copytree(settings.data_dir, settings.data_dir.with_name("other")))
    async with AsyncExitStack() as stack:
        worlds = [
            await stack.enter_async_context(running(settings, clock, data_dir=folder, **changes))
            for folder in (settings.data_dir, other)
        ]
        yield worlds[0], worlds[1]


async def _served(*worlds: World) -> int:
    """Ask each in turn until both refuse; return how many requests were served."""
    served, refused = 0, 0
    while refused < len(worlds):
        for world in worlds:
            status = (await world.get(api.HEALTH_PATH)).status
            assert status in (200, 429)
            served += status == 200
            refused += status == 429
    return served


async def _ready(world: World) -> tuple[str, str]:
    body = await (await world.get(api.READY_PATH)).json()
    assert body["status"] == "ready"
    return body["redis"], body["redis_problem"]


class Changes:
    """What a world's link to Redis becomes from now on."""

    def __init__(self, world: World) -> None:
        link = world.tracker.replica.link
        assert link is not None
        self._queue: asyncio.Queue[bool] = asyncio.Queue()
        self._before, link.on_change = link.on_change, self._note

    async def becomes(self, is_up: bool) -> None:
        """Wait until it is so."""
        async with asyncio.timeout(WAIT_S):
            while await self._queue.get() is not is_up:
                pass

    def _note(self, is_up: bool) -> None:
        self._before(is_up)
        self._queue.put_nowait(is_up)


def _patient(world: World) -> None:
    """Let a loaded machine be no reason to call Redis away."""
    assert world.tracker.replica.link is not None
    world.tracker.replica.link._timeout_s = PATIENT_S


@ON_POSTGRESQL
async def test_rates_are_shared_through_redis(settings: TrackerSettings, clock: TestClock, own_redis: Redis) -> None:
    """A client gets as much as at one tracker, wherever it asks."""
    async with pair(settings, clock, limits=FEW, redis_url=_secret(own_redis)) as (one, two):
        _patient(one)
        _patient(two)
        assert await _served(one, two) == 6


@ON_POSTGRESQL
async def test_without_redis_each_counts_alone(settings: TrackerSettings, clock: TestClock) -> None:
    """That is said, and nothing else is missing."""
    async with pair(settings, clock, limits=FEW) as (one, two):
        assert await _served(one, two) == 12


@ON_POSTGRESQL
async def test_news_go_through_redis(settings: TrackerSettings, clock: TestClock, own_redis: Redis) -> None:
    """Words of a job and a longer queue, before anybody looked into the database."""
    async with pair(settings, clock, redis_url=_secret(own_redis)) as (one, two):
        _patient(one)
        _patient(two)
        account, _ = await one.account()
        since = two.tracker.news.changes
        job = await Queue(one.tracker).submit(account)
        assert await two.tracker.news.wait_for_queue(since, WAIT_S)
        async with two.tracker.news.follow(job.id) as waiting:
            one.tracker.news.tell(Word(job.id, "tokens", {"text": "Hi"}))
            async with asyncio.timeout(WAIT_S):
                while await waiting.get() != Word(job.id, "tokens", {"text": "Hi"}):
                    pass


@ON_POSTGRESQL
async def test_news_without_redis(settings: TrackerSettings, clock: TestClock) -> None:
    """The database is looked into every second."""
    async with pair(settings, clock) as (one, two):
        account, _ = await one.account()
        since = two.tracker.news.changes
        job = await Queue(one.tracker).submit(account)
        assert await two.tracker.news.wait_for_queue(since, WAIT_S)
        async with two.tracker.news.follow(job.id) as waiting:
            _, lease = await Queue(one.tracker).claim("worker:w")
            assert await one.tracker.desk.complete(lease, ANSWER, processing_ms=1) is not None
            async with asyncio.timeout(WAIT_S):
                while await waiting.get() != Word(job.id, "done", {"status": "completed"}):
                    pass


@ON_POSTGRESQL
async def test_a_worker_that_is_heard_elsewhere(settings: TrackerSettings, clock: TestClock, own_redis: Redis) -> None:
    """By Redis, with no reading of the database between; the database hears of it too, but seldom."""
    async with pair(settings, clock, redis_url=_secret(own_redis)) as (one, two):
        worker = await pull_worker(one)
        await worker.heartbeat()
        await one.tracker.workers.sync.flush()
        await two.tracker.workers.sync.read()
        clock.advance(60)
        await worker.heartbeat("busy")
        for world in (one, two):
            _patient(world)
            await _becomes_up(world)
            assert world.tracker.replica.presence is not None
            await world.tracker.replica.presence.flush()
            await world.tracker.replica.presence.read()
        assert two.tracker.workers.presence.status_of(worker.id) is WorkerStatus.BUSY


@ON_POSTGRESQL
async def test_a_node_that_was_heard_elsewhere_is_listed(settings: TrackerSettings, clock: TestClock) -> None:
    """By every replica's signed index, and no more when it leaves, wherever it says so."""
    async with pair(settings, clock) as (one, two):
        node = Identity.generate()
        registered = await one.register(node)
        told = advert(node, registered.certificate, one.network)
        beat = api.HeartbeatRequest(status="online", adverts=(told.envelope,))
        path = api.HEARTBEAT_PATH.format(peer=node.peer_id)
        assert (await one.post(path, beat, token=registered.token)).status == 200
        await _lists(two, one, [told.envelope])
        gone = api.HeartbeatRequest(status="offline")
        assert (await two.post(path, gone, token=registered.token)).status == 200
        await _lists(one, two, [])


async def _lists(world: World, other: World, adverts: list[Envelope]) -> None:
    """Check what a tracker lists after both had their turn to exchange."""
    for each in (other, world):
        assert each.tracker.replica._adverts is not None
        await each.tracker.replica._adverts.exchange()
    reply = api.NodesReply.model_validate_json(await (await world.get(api.NODES_PATH)).text())
    assert list(world.tracker.keys.trust.open_index(reply.index).body.adverts) == adverts


@ON_SQLITE
async def test_redis_away_at_the_start(settings: TrackerSettings, clock: TestClock, own_redis: Redis) -> None:
    """The tracker starts and serves, and takes Redis when it comes."""
    own_redis.stop(signal.SIGKILL)
    async with running(settings, clock, redis_url=_secret(own_redis)) as world:
        state, problem = await _ready(world)
        assert state == "away"
        assert problem
        assert "gpunode_tracker_redis_up 0.0" in await (await world.get("/metrics")).text()
        changes = Changes(world)
        own_redis.start()
        await changes.becomes(True)
        assert await _ready(world) == ("up", "")
        assert "gpunode_tracker_redis_up 1.0" in await (await world.get("/metrics")).text()


@ON_SQLITE
async def test_redis_dies_and_comes_back(
    settings: TrackerSettings, clock: TestClock, own_redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests are served and limited all the time; the log says it once each way."""
    async with running(settings, clock, redis_url=_secret(own_redis), limits=FEW) as world:
        await _becomes_up(world)
        caplog.clear()
        assert (await world.get(api.HEALTH_PATH)).status == 200
        own_redis.stop(signal.SIGKILL)
        assert await _served(world) <= 6
        link = world.tracker.replica.link
        assert link is not None
        own_redis.start()
        async with asyncio.timeout(WAIT_S):
            await link.wait_until_up()
        events = [getattr(record, "event", "") for record in caplog.records]
        assert events.count("redis_away") == events.count("redis_back") == 1


@ON_SQLITE
async def test_redis_hangs(settings: TrackerSettings, clock: TestClock, own_redis: Redis) -> None:
    """Of all requests only those wait, for a tenth of a second, that find out; the others do not even try."""
    async with running(settings, clock, redis_url=_secret(own_redis)) as world:
        await _becomes_up(world)
        changes = Changes(world)
        own_redis.freeze()
        for _ in range(200):
            assert (await world.get(api.HEALTH_PATH)).status == 200
        assert world.tracker.metrics.redis_failures._value.get() <= 3
        await changes.becomes(False)
        assert (await _ready(world))[0] == "away"
        own_redis.thaw()
        await changes.becomes(True)


@ON_SQLITE
async def test_no_redis(settings: TrackerSettings, clock: TestClock) -> None:
    """Nothing is said of one that nobody set."""
    async with running(settings, clock) as world:
        assert await _ready(world) == ("off", "")
        assert "redis_up" not in await (await world.get("/metrics")).text()


async def _becomes_up(world: World) -> None:
    link = world.tracker.replica.link
    assert link is not None
    async with asyncio.timeout(WAIT_S):
        await link.wait_until_up()


def _secret(server: Redis) -> object:
    from pydantic import SecretStr

    return SecretStr(server.url)

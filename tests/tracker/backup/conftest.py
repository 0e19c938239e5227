"""A tracker with something of everything in its database, and where it is backed up and restored."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol.identity import Identity
from gpunode_tracker.administration import Administration
from gpunode_tracker.app import create_app
from gpunode_tracker.backup.backing_up import back_up
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.tracker import Tracker

from tests.tracker.conftest import World
from tests.tracker.databases import SQLITE
from tests.tracker.jobs.queue_parties import ANSWER, Queue
from tests.tracker.parties import TestClock
from tests.tracker.postgres import Postgres


@dataclass
class Lived:
    """What a tracker has seen, to be looked for after a restore."""

    account: str
    key: str
    token: str
    node: Identity
    receipt: str
    queued: str
    completed: str


@asynccontextmanager
async def serving(settings: TrackerSettings, clock: TestClock) -> AsyncIterator[World]:
    """Serve a tracker."""
    tracker = await Tracker.open(settings, clock)
    async with TestClient(TestServer(create_app(tracker))) as http:
        yield World(tracker, http, Administration(settings, tracker.database, tracker.keys, tracker.clock))


async def live(world: World) -> Lived:
    """Let a job be paid to a node, one be completed from the queue, and one wait there."""
    deal = await world.job()
    item = deal.job.item(10)
    assert (await world.settle(item))[0].status == "settled"
    account, key = await world.account()
    queue = Queue(world.tracker)
    completed = await queue.submit(account, webhook="https://example.com/hook")
    _, lease = await queue.claim()
    assert await world.tracker.desk.complete(lease, ANSWER, processing_ms=1) is not None
    queued = await queue.submit(account)
    await world.tracker.sequence()
    receipt = deal.job.finished(10)[1].digest.hex()
    return Lived(account, key, deal.token, deal.job.node, receipt, queued.id, completed.id)


@dataclass
class Backup:
    """An archive, and what the tracker that it is of had seen."""

    path: Path
    facts: dict[str, Any]
    lived: Lived
    network: str


@pytest.fixture
async def backup(settings: TrackerSettings, clock: TestClock, tmp_path: Path) -> Backup:
    """A backup of a tracker that has stopped since."""
    async with serving(settings, clock) as world:
        lived = await live(world)
        facts = await back_up(world.admin, tmp_path / "b.tar.gz")
        return Backup(tmp_path / "b.tar.gz", facts, lived, world.network)


@pytest.fixture
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """What makes empty places of either kind: used in a with statement, it gives their settings."""

    @contextmanager
    def make(kind: str, name: str = "restored") -> Iterator[TrackerSettings]:
        values: dict[str, Any] = {"data_dir": tmp_path / name, "mesh": False}
        if kind == SQLITE:
            yield TrackerSettings.load(values)
        else:
            server: Postgres = request.getfixturevalue("postgres")
            with server.new_database() as url:
                yield TrackerSettings.load({**values, "database_url": url})

    return make

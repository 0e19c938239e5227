"""A real tracker on loopback, in a thread of its own, with somebody of each kind in it."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol import jobs_api
from gpunode_protocol.identity import Identity
from gpunode_protocol.tasks import Task
from gpunode_tracker.administration import Administration
from gpunode_tracker.api_keys import KeyTerms
from gpunode_tracker.app import create_app
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.limits import Budget, Limits
from gpunode_tracker.openapi.route import Auth, Route
from gpunode_tracker.rates import Rate
from gpunode_tracker.scopes import Scope
from gpunode_tracker.tracker import Tracker

from tests.tracker.conftest import World

ENDLESS = Rate(per_minute=1_000_000, burst=1_000_000)
CREDITS = 1_000_000


@dataclass(frozen=True)
class FuzzedTracker:
    """Where it is, and what is in it.

    key: of an administrator, good for everything. node_token: of a registered node. ids: of things that exist, by the
    name of the path's variable.
    """

    url: str
    key: str
    node_token: str
    ids: Mapping[str, str]

    def credentials(self, route: Route) -> dict[str, str]:
        """Return the headers that a route asks for."""
        if route.auth is Auth.WORKER:
            return {"X-Worker-Token": self.node_token}
        return {} if route.auth is Auth.NOTHING else {"Authorization": f"Bearer {self.key}"}


@contextmanager
def fuzzed_tracker(folder: Path) -> Iterator[FuzzedTracker]:
    """Run one; no limit of rates is in the way, and a synchronous job waits for next to nothing."""
    settings = TrackerSettings.load(
        {
            "data_dir": folder / "data",
            "mesh": False,
            "sync_timeout_s": 0.01,
            "limits": Limits(rates=dict.fromkeys(Budget, ENDLESS)),
        }
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fuzzed tracker")
    thread.start()
    try:
        stop = asyncio.run_coroutine_threadsafe(_start(settings), loop).result()
        yield stop.tracker
        asyncio.run_coroutine_threadsafe(stop.http.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass(frozen=True)
class _Running:
    tracker: FuzzedTracker
    http: TestClient[Any, Any]


async def _start(settings: TrackerSettings) -> _Running:
    tracker = await Tracker.open(settings)
    http = TestClient(TestServer(create_app(tracker)))
    await http.start_server()
    admin = Administration(settings, tracker.database, tracker.keys, tracker.clock)
    world = World(tracker, http, admin)
    account = (await admin.create_account("fuzz", credits_given=CREDITS)).id
    key = await admin.create_key(account, KeyTerms(scopes=frozenset(Scope)))
    ids = {"account": account, "job": await _cancelled_job(world, key), "asset": "start.js"}
    node = Identity.generate()
    token = (await world.register(node)).token
    fuzzed = FuzzedTracker(str(http.make_url("/")).rstrip("/"), key, token, ids | {"peer": node.peer_id})
    return _Running(fuzzed, http)


async def _cancelled_job(world: World, key: str) -> str:
    params = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    answer = await world.post(jobs_api.JOBS_PATH, jobs_api.JobSubmission(type=Task.LLM, params=params), key=key)
    job: str = (await answer.json())["job_id"]
    await world.http.delete(jobs_api.JOB_PATH.format(job=job), headers={"Authorization": f"Bearer {key}"})
    return job

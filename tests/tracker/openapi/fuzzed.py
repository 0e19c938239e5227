"""A tracker with somebody of each kind in it; and such a one in a thread of its own, for clients that block."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientSession
from aiohttp.test_utils import TestClient
from gpunode_protocol import admin_api, jobs_api
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NODES_PATH, SettlementItem
from gpunode_tracker.administration import Administration
from gpunode_tracker.api_keys import KeyTerms
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.daemon import serve_http
from gpunode_tracker.limits import Budget, Limits
from gpunode_tracker.openapi.route import Auth, Route
from gpunode_tracker.rates import Rate
from gpunode_tracker.scopes import Scope
from gpunode_tracker.tracker import Tracker

from tests.tracker.conftest import World
from tests.tracker.parties import Job
from tests.tracker.pull_workers import ANSWER

ENDLESS = Rate(per_minute=1_000_000, burst=1_000_000)
CREDITS = 1_000_000
FREELY: dict[str, Any] = {
    "open_registration": True,
    "sync_timeout_s": 0.01,
    "limits": Limits(rates=dict.fromkeys(Budget, ENDLESS)),
}
"""Settings with which nothing is in the way of trying things out."""


@dataclass(frozen=True)
class Inhabitants:
    """Who and what is in a tracker.

    key: of an administrator, good for everything. node_token, worker_token: of a registered node and a pull worker.
    ids: of things that exist, by the name of the path's variable: ``job`` is completed, ``key`` is not the one above.
    held_job: the worker has it.
    """

    key: str
    node_token: str
    worker_token: str
    ids: Mapping[str, str]
    held_job: str

    def credentials(self, route: Route) -> dict[str, str]:
        """Return the headers that a route asks for."""
        if route.auth is Auth.WORKER:
            is_node = route.path.startswith(NODES_PATH)
            return {"X-Worker-Token": self.node_token if is_node else self.worker_token}
        return {} if route.auth is Auth.NOTHING else {"Authorization": f"Bearer {self.key}"}

    def id_for(self, route: Route, variable: str) -> str | None:
        """Return the id of a thing that exists; None: there is none."""
        return self.held_job if variable == "job" and route.auth is Auth.WORKER else self.ids.get(variable)


@contextmanager
def fuzzed_tracker(folder: Path, database_url: str | None) -> Iterator[tuple[str, Inhabitants]]:
    """Run one; yield its URL and who is in it.

    database_url: None = SQLite in the folder.
    """
    settings = TrackerSettings.load(
        {
            "data_dir": folder / "data",
            "database_url": database_url,
            "mesh": False,
            "listen": "127.0.0.1:0",
            **FREELY,
        }
    )
    loop, stack = asyncio.new_event_loop(), AsyncExitStack()
    thread = threading.Thread(target=loop.run_forever, name="fuzzed tracker")
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(_start(settings, stack), loop).result()
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(settings: TrackerSettings, stack: AsyncExitStack) -> tuple[str, Inhabitants]:
    """Serve as the daemon does, which answers for itself what is no HTTP."""
    tracker = await Tracker.open(settings)
    url = await stack.enter_async_context(serve_http(tracker, None))
    admin = Administration(settings, tracker.database, tracker.keys, tracker.clock)
    async with ClientSession(url) as session:
        return url, await populate(World(tracker, cast("TestClient[Any, Any]", session), admin))


async def populate(world: World) -> Inhabitants:
    """Make an account with two keys, a paid node, a worker; a job that it did, one that it has, a cancelled one."""
    account = (await world.admin.create_account("fuzz", credits_given=CREDITS)).id
    key = await world.admin.create_key(account, KeyTerms(scopes=frozenset(Scope)))
    worker = await _worker(world)
    completed, held = await _completed_job(world, key, worker), await _held_job(world, key, worker)
    await _cancelled_job(world, key)
    spare = await world.made(admin_api.NewKey, admin_api.KEYS_PATH, admin_api.KeyRequest(name="spare"), key=key)
    node = Identity.generate()
    node_token = (await world.register(node)).token
    linked = await world.link(node, key)
    assert linked.ok, await linked.text()
    ids = {
        "account": account,
        "asset": "start.js",
        "job": completed,
        "key": spare.key.key,
        "peer": node.peer_id,
        "receipt": await _receipt(world, key, node),
        "worker": worker.worker_id,
    }
    return Inhabitants(key, node_token, worker.token, ids, held)


async def _submitted(world: World, key: str) -> str:
    params = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    answer = await world.post(jobs_api.JOBS_PATH, jobs_api.JobSubmission(type=Task.LLM, params=params), key=key)
    assert answer.status == 202, await answer.text()
    return jobs_api.JobTicket.model_validate_json(await answer.text()).job_id


async def _cancelled_job(world: World, key: str) -> None:
    answer = await world.delete(jobs_api.JOB_PATH.format(job=await _submitted(world, key)), key=key)
    assert answer.status == 200, await answer.text()


async def _completed_job(world: World, key: str, worker: jobs_api.WorkerCredentials) -> str:
    job = await _held_job(world, key, worker)
    done = jobs_api.JobCompletion(success=True, result=ANSWER, processing_time=0.5)
    answer = await world.post(jobs_api.COMPLETE_PATH.format(job=job), done, token=worker.token)
    assert answer.status == 200, await answer.text()
    return job


async def _receipt(world: World, key: str, node: Identity) -> str:
    """Return the id of a receipt that the ledger has."""
    client = Identity.generate()
    grant = await world.grant(key, client)
    voucher, receipt = Job(world.network, client, node, grant.jti).finished(10, 3)
    await world.settle(SettlementItem(voucher=voucher.envelope, receipt=receipt.envelope))
    return receipt.digest.hex()


async def _worker(world: World) -> jobs_api.WorkerCredentials:
    body = jobs_api.WorkerRegistration(region=Region.EUROPE, supported_types=(Task.LLM,))
    credentials = await world.made(jobs_api.WorkerCredentials, jobs_api.WORKER_REGISTER_PATH, body)
    beat = jobs_api.WorkerHeartbeat(status="online")
    path = jobs_api.WORKER_HEARTBEAT_PATH.format(worker=credentials.worker_id)
    answer = await world.post(path, beat, token=credentials.token)
    assert answer.status == 200, await answer.text()
    return credentials


async def _held_job(world: World, key: str, worker: jobs_api.WorkerCredentials) -> str:
    job = await _submitted(world, key)
    path = jobs_api.NEXT_JOB_PATH.format(worker=worker.worker_id)
    found = await world.read(jobs_api.NextJob, path, token=worker.token)
    assert found.job_id == job
    return job

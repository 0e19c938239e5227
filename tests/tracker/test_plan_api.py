"""The original plan's API, call for call, over plain HTTP: what it wrote down is what clients and workers send here.

Jobs are done by workers that pull them, or by nodes of the mesh.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol.regions import Region
from gpunode_tracker.administration import Administration
from gpunode_tracker.app import create_app
from gpunode_tracker.tracker import Tracker

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.dispatch.mesh_world import MeshWorld
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import until_waiting

pytestmark = ON_BOTH

JOB = {
    "type": "llm",
    "params": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1000},
    "region": "asia",
}
RESULT = {"response": "Hello! How can I help you?", "usage": {"prompt_tokens": 10, "completion_tokens": 20}}
HEARTBEAT = {
    "status": "online",
    "gpu_info": {"memory_used": 4.5, "memory_total": 24},
    "supported_types": ["llm", "image_gen"],
}


class Plan:
    """A client with an API key, and a worker with a token, who know nothing but the plan."""

    def __init__(self, world: World, key: str) -> None:
        self.world = world
        self.key = key
        self.worker_id = self.token = ""

    async def client(self, method: str, path: str, body: Any = None) -> ClientResponse:
        """Send a request as the client."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return await self.world.http.request(method, f"/api/v1{path}", json=body, headers=headers)

    async def worker(self, method: str, path: str, body: Any = None, **headers: str) -> ClientResponse:
        """Send a request as the worker."""
        headers = {"X-Worker-Token": self.token, **headers}
        path = path.format(worker_id=self.worker_id)
        return await self.world.http.request(method, f"/api/v1{path}", json=body, headers=headers)

    async def register(self, **fields: Any) -> None:
        """Register the worker."""
        body = {"name": "home PC", "region": "asia", "gpu_model": "RTX 4090", "supported_types": ["llm"], **fields}
        answer = await self.world.http.post("/api/v1/workers/register", json=body)
        assert answer.status == 201
        credentials = await answer.json()
        assert set(credentials) >= {"worker_id", "token"}
        self.worker_id, self.token = str(UUID(credentials["worker_id"])), credentials["token"]

    async def next_job(self, query: str = "") -> Any:
        """Ask for a job."""
        answer = await self.worker("GET", "/workers/{worker_id}/next-job" + query)
        assert answer.status == 200
        return await answer.json()

    async def complete(self, job_id: str, **changes: Any) -> Any:
        """Complete a job."""
        body = {"success": True, "result": RESULT, "processing_time": 2.5, **changes}
        answer = await self.worker("POST", f"/jobs/{job_id}/complete", body)
        assert answer.status == 200, await answer.text()
        return await answer.json()


@pytest.fixture
async def plan(world: World) -> Plan:
    """The plan's client and worker."""
    return Plan(world, (await world.account())[1])


async def test_call_for_call(plan: Plan, clock: TestClock) -> None:
    """Register, heartbeat, submit, ask, next job, complete, result."""
    await plan.register()
    assert (await plan.worker("POST", "/workers/{worker_id}/heartbeat", HEARTBEAT)).status == 200

    submitted = await plan.client("POST", "/jobs", JOB)
    assert submitted.status == 202
    ticket = await submitted.json()
    job_id = str(UUID(ticket["job_id"]))
    assert (ticket["status"], ticket["estimated_wait"]) == ("queued", 0.0)
    assert (await (await plan.client("GET", f"/jobs/{job_id}")).json())["status"] == "queued"

    job = await plan.next_job()
    assert (job["job_id"], job["type"], job["params"]) == (job_id, "llm", JOB["params"])
    assert (await (await plan.client("GET", f"/jobs/{job_id}")).json())["status"] == "running"

    clock.advance(2.5)
    await plan.complete(job_id)
    shown = await (await plan.client("GET", f"/jobs/{job_id}")).json()
    assert (shown["status"], shown["result"]) == ("completed", RESULT)
    assert shown["served_by"] == f"worker:{plan.worker_id}"

    listed = await (await plan.client("GET", "/workers")).json()
    worker = listed["workers"][0]
    assert (worker["status"], worker["region"], worker["gpu_memory_gb"]) == ("online", "asia", 24.0)
    assert (worker["avg_latency_ms"], worker["success_rate"], worker["total_jobs"]) == (2_500, 1.0, 1)


async def test_the_synchronous_call(plan: Plan) -> None:
    """A worker in another task answers while the client waits."""
    await plan.register()
    polling = asyncio.create_task(plan.next_job("?wait=30"))
    await until_waiting(plan.world.tracker.workers.waiting, 1)
    call = asyncio.create_task(plan.client("POST", "/jobs/sync", JOB))
    job = await polling
    await plan.complete(job["job_id"])
    answer = await call
    assert answer.status == 200
    shown = await answer.json()
    assert (shown["job_id"], shown["status"], shown["result"]) == (job["job_id"], "completed", RESULT)


async def test_a_job_that_fails_everywhere(plan: Plan, clock: TestClock) -> None:
    """Three attempts, each by another worker if there is one, with their reasons; then it has failed."""
    job_id = (await (await plan.client("POST", "/jobs", JOB)).json())["job_id"]
    for number in range(3):
        await plan.register(name=f"worker {number}")
        assert (await plan.next_job())["job_id"] == job_id
        await plan.complete(job_id, success=False, result=None, error=f"no {number}")
        clock.advance(1)
    shown = await (await plan.client("GET", f"/jobs/{job_id}")).json()
    assert (shown["status"], shown["error"], shown["attempts"]) == ("failed", "no 2", 3)
    assert shown["failures"] == ["no 0", "no 1", "no 2"]


async def test_a_worker_that_vanishes(plan: Plan, clock: TestClock) -> None:
    """Its job goes to another one after a minute of silence, which completes it."""
    await plan.register()
    job_id = (await (await plan.client("POST", "/jobs", JOB)).json())["job_id"]
    await plan.next_job()
    clock.advance(61)
    await plan.world.tracker.workers.outcomes.expire_leases()
    await plan.register(name="another")
    assert (await plan.next_job())["job_id"] == job_id
    await plan.complete(job_id)
    shown = await (await plan.client("GET", f"/jobs/{job_id}")).json()
    assert (shown["status"], shown["failures"]) == ("completed", ["The worker was silent for 60 s."])


async def test_workers_need_their_token(plan: Plan) -> None:
    """Every worker call carries it, and another worker's is of no use."""
    await plan.register()
    first = plan.worker_id
    await plan.register(name="another")
    assert (await plan.worker("GET", f"/workers/{first}/next-job")).status == 403
    assert (await plan.worker("GET", "/workers/{worker_id}/next-job", **{"X-Worker-Token": "wrong"})).status == 401
    assert (await plan.client("POST", f"/workers/{plan.worker_id}/heartbeat", HEARTBEAT)).status == 401


async def test_nobody_can_do_it(plan: Plan) -> None:
    """The ticket says so at once, with the reason; the worker that cannot is told why, too."""
    await plan.register(region="europe")
    await plan.worker("POST", "/workers/{worker_id}/heartbeat", HEARTBEAT)
    ticket = await (await plan.client("POST", "/jobs", JOB)).json()
    assert ticket.get("estimated_wait") is None
    assert "another region" in ticket["note"]
    assert await plan.next_job() == {"reasons": {"other_region": 1}}


@pytest.fixture
async def mesh(tracker: Tracker) -> MeshWorld:
    """A tracker with a mesh in memory."""
    world = MeshWorld(tracker)
    await world.open()
    return world


@pytest.fixture
async def plan_on_mesh(mesh: MeshWorld) -> AsyncIterator[Plan]:
    """The plan's client, before a tracker that sends jobs to the nodes of that mesh."""
    tracker = mesh.tracker
    async with TestClient(TestServer(create_app(tracker))) as http, mesh.dispatcher():
        admin = Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock)
        yield Plan(World(tracker, http, admin), await admin.create_key(mesh.account.id))


async def test_nodes_of_the_mesh(mesh: MeshWorld, plan_on_mesh: Plan) -> None:
    """The same calls, and who did it; the receipt names the node that signed it with the tracker."""
    elsewhere, node = await mesh.add_node(), await mesh.add_node(Region.ASIA)
    answer = await plan_on_mesh.client("POST", "/jobs/sync", JOB)
    assert answer.status == 200, await answer.text()
    done = await answer.json()
    assert (done["status"], done["result"]["response"]) == ("completed", "Paris is the capital.")
    assert done["result"]["usage"] == {"prompt_tokens": 7, "completion_tokens": 4}
    assert (done["served_by"], elsewhere.jobs) == (f"node:{node.peer_id}", [])
    assert await (await plan_on_mesh.client("GET", f"/jobs/{done['job_id']}")).json() == done
    receipt = node.jobs[0].receipt
    assert receipt is not None
    assert (receipt.digest.hex(), receipt.body.node) == (done["receipt"], node.peer_id)
    assert receipt.body.client == mesh.tracker.dispatch.peer_id


async def test_a_job_that_is_asked_for_later_by_nodes_of_the_mesh(mesh: MeshWorld, plan_on_mesh: Plan) -> None:
    """Submitted, and fetched when it has been done."""
    node = await mesh.add_node(Region.ASIA)
    submitted = await plan_on_mesh.client("POST", "/jobs", JOB)
    assert submitted.status == 202
    job_id = (await submitted.json())["job_id"]
    events = await plan_on_mesh.client("GET", f"/jobs/{job_id}/events")
    assert '"status":"completed"' in await events.text()
    shown = await (await plan_on_mesh.client("GET", f"/jobs/{job_id}")).json()
    assert (shown["status"], shown["served_by"]) == ("completed", f"node:{node.peer_id}")

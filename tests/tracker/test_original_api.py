"""The API of the original plan, call for call over plain HTTP: with a worker that pulls, and with nodes of the mesh."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol.regions import Region
from gpunode_tracker.administration import Administration
from gpunode_tracker.app import create_app
from gpunode_tracker.tracker import Tracker

from tests.tracker.conftest import World
from tests.tracker.dispatch.mesh_world import MeshWorld

JOB = {
    "type": "llm",
    "params": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1000},
    "region": "asia",
}
RESULT = {
    "response": "Hello! How can I help you?",
    "usage": {"prompt_tokens": 10, "completion_tokens": 20},
}
HEARTBEAT = {
    "status": "online",
    "gpu_info": {"memory_used": 4.5, "memory_total": 24},
    "supported_types": ["llm", "image_gen"],
}


class Caller:
    """Speaks JSON, as somebody who has a header that says who it is."""

    def __init__(self, http: TestClient[Any, Any], name: str, value: str) -> None:
        self._http = http
        self._headers = {name: value}

    async def call(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Return what a call answers, which must have a status."""
        answer = await self._http.request(method, f"/api/v1{path}", json=body, headers=self._headers)
        assert answer.status == status, await answer.text()
        return await answer.json()


@pytest.fixture
async def client(world: World) -> Caller:
    """Somebody with an API key."""
    _, key = await world.account()
    return Caller(world.http, "Authorization", f"Bearer {key}")


async def _register(http: TestClient[Any, Any]) -> tuple[str, Caller]:
    """Return a new worker's id, and itself."""
    body = {"name": "attic", "region": "asia", "gpu_model": "RTX 4090", "supported_types": ["llm"]}
    answer = await http.post("/api/v1/workers/register", json=body)
    assert answer.status == 201
    given = await answer.json()
    return given["worker_id"], Caller(http, "X-Worker-Token", given["token"])


async def test_a_job_by_a_worker_that_pulls(world: World, client: Caller) -> None:
    """Registration, heartbeat, submission, the next job, its completion, the result."""
    worker_id, worker = await _register(world.http)
    await worker.call("POST", f"/workers/{worker_id}/heartbeat", HEARTBEAT)
    submitted = await client.call("POST", "/jobs", JOB, status=202)
    assert (submitted["status"], submitted["estimated_wait"]) == ("queued", 0.0)
    job = await worker.call("GET", f"/workers/{worker_id}/next-job")
    assert (job["job_id"], job["type"], job["params"]) == (submitted["job_id"], "llm", JOB["params"])
    assert (await client.call("GET", f"/jobs/{job['job_id']}"))["status"] == "running"
    completion = {"success": True, "result": RESULT, "processing_time": 2.5}
    await worker.call("POST", f"/jobs/{job['job_id']}/complete", completion)
    done = await client.call("GET", f"/jobs/{job['job_id']}")
    assert (done["status"], done["result"]) == ("completed", RESULT)


async def test_a_call_that_waits(world: World, client: Caller) -> None:
    """It answers with the result, when the worker has it."""
    worker_id, worker = await _register(world.http)

    async def work() -> None:
        job = await worker.call("GET", f"/workers/{worker_id}/next-job?wait=20")
        await worker.call("POST", f"/jobs/{job['job_id']}/complete", {"success": True, "result": RESULT})

    done, _ = await asyncio.gather(client.call("POST", "/jobs/sync", JOB), work())
    assert (done["status"], done["result"]) == ("completed", RESULT)


async def test_a_worker_without_its_token(world: World) -> None:
    """401, also with another worker's id in the path: then 403."""
    worker_id, _ = await _register(world.http)
    _, other = await _register(world.http)
    stranger = Caller(world.http, "X-Worker-Token", "gpw_invented")
    await stranger.call("GET", f"/workers/{worker_id}/next-job", status=401)
    await other.call("GET", f"/workers/{worker_id}/next-job", status=403)


@pytest.fixture
async def mesh(tracker: Tracker) -> MeshWorld:
    """A tracker with a mesh in memory."""
    world = MeshWorld(tracker)
    await world.open()
    return world


@pytest.fixture
async def mesh_client(mesh: MeshWorld) -> AsyncIterator[Caller]:
    """Somebody with an API key, before a tracker that sends jobs to the nodes of that mesh."""
    tracker = mesh.tracker
    async with TestClient(TestServer(create_app(tracker))) as http, mesh.dispatcher():
        admin = Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock)
        yield Caller(http, "Authorization", f"Bearer {await admin.create_key(mesh.account.id)}")


async def test_a_job_by_a_node_of_the_mesh(mesh: MeshWorld, mesh_client: Caller) -> None:
    """The same two calls, and who did it; the receipt names the node that signed it with the tracker."""
    elsewhere, node = await mesh.add_node(), await mesh.add_node(Region.ASIA)
    done = await mesh_client.call("POST", "/jobs/sync", JOB)
    assert done["result"]["response"] == "Paris is the capital."
    assert done["result"]["usage"] == {"prompt_tokens": 7, "completion_tokens": 4}
    assert (done["served_by"], elsewhere.jobs) == (f"node:{node.peer_id}", [])
    assert await mesh_client.call("GET", f"/jobs/{done['job_id']}") == done
    receipt = node.jobs[0].receipt
    assert receipt is not None
    assert (receipt.digest.hex(), receipt.body.node) == (done["receipt"], node.peer_id)
    assert receipt.body.client == mesh.tracker.dispatch.peer_id

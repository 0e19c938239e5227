"""Calls of a pull worker to its tracker."""

import asyncio

import pytest
import stamina
from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode_node.errors import TrackerUnreachable
from gpunode_node.pull.worker_client import WorkerClient
from gpunode_protocol.jobs_api import NextJob, WorkerEvent

from tests.node.pull.fake_queue import WORKER_ID, chat_of
from tests.node.virtual_time import virtual_time
from tests.node.world import job_id


class _Recorder:
    """A tracker that keeps what it was asked, and answers the same to everything."""

    def __init__(self, *statuses: int, body: bytes = b"{}") -> None:
        self.statuses = list(statuses)
        self.body = body
        self.asked: list[tuple[str, str, str | None]] = []

    def server(self) -> TestServer:
        """Return it, not started."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path_qs, request.headers.get("X-Worker-Token")))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, body=self.body if status == 200 else b"", content_type="application/json")


@pytest.fixture(autouse=True)
def _several_attempts(_one_attempt: None) -> None:
    """Repeated calls are what is tested here; they wait for nothing."""
    stamina.set_testing(True, attempts=3)


async def test_a_long_poll_says_how_long() -> None:
    """The token goes in its header; the answer may be as large as a job with a file."""
    params = chat_of("x" * 9_000_000)
    recorder = _Recorder(body=NextJob(job_id=job_id(1), params=params).model_dump_json(exclude_none=True).encode())
    async with recorder.server() as server:
        client = WorkerClient(str(server.make_url("/")).rstrip("/"))
        assert (await client.next_job(WORKER_ID, "t", 25)).params == params
        await client.close()
    assert recorder.asked == [("GET", f"/api/v1/workers/{WORKER_ID}/next-job?wait=25", "t")]


async def test_a_job_is_announced_when_it_begins_to_come() -> None:
    """Long before all of it is there: the caller knows that it is being given one."""
    sent, told = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        body = NextJob(job_id=job_id(1)).model_dump_json(exclude_none=True).encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(body[:5])
        await sent.wait()
        await response.write(body[5:])
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        client = WorkerClient(str(server.make_url("/")).rstrip("/"))
        asking = asyncio.create_task(client.next_job(WORKER_ID, "t", 25, told.set))
        await told.wait()
        assert not asking.done()
        sent.set()
        assert (await asking).job_id == job_id(1)
        await client.close()


async def test_polls_and_events_are_not_repeated() -> None:
    """A job would be held by nobody, and a text would come twice; a job's end may come twice."""
    recorder = _Recorder(503, 503, 503, body=b'{"job_id": "a", "status": "completed"}')
    async with recorder.server() as server:
        client = WorkerClient(str(server.make_url("/")).rstrip("/"))
        with pytest.raises(TrackerUnreachable, match="503"):
            await client.next_job(WORKER_ID, "t", 1)
        with pytest.raises(TrackerUnreachable, match="503"):
            await client.tell(job_id(1), "t", WorkerEvent(attempt=1, text="a"))
        assert len(recorder.asked) == 2
        assert (await client.complete(job_id(1), "t", b"{}")).status == "completed"
        assert len(recorder.asked) == 4
        await client.close()


async def test_an_event_has_no_answer() -> None:
    """204 without a body is all that comes."""
    recorder = _Recorder(204)
    async with recorder.server() as server:
        client = WorkerClient(str(server.make_url("/")).rstrip("/"))
        await client.tell(job_id(1), "t", WorkerEvent(attempt=1, step=1, total=2))
        await client.close()
    assert recorder.asked == [("POST", f"/api/v1/jobs/{job_id(1)}/events", "t")]


async def _dripping(body: bytes, pause_s: float) -> TestServer:
    """Return a tracker, started, that takes and gives a body in four pieces."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for piece in range(4):
            await asyncio.sleep(pause_s)
            await response.write(body[piece * len(body) // 4 : (piece + 1) * len(body) // 4])
        return response

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    return server


@virtual_time
async def test_a_job_over_a_slow_line() -> None:
    """A large one takes longer to come than it is waited for one; where nothing comes, that is the limit still."""
    found = NextJob(job_id=job_id(1), params=chat_of("x"))
    body = found.model_dump_json(exclude_none=True).encode()
    for pause_s, comes in ((20.0, True), (36.0, False)):
        server = await _dripping(body, pause_s)
        client = WorkerClient(str(server.make_url("/")).rstrip("/"))
        if comes:
            assert await client.next_job(WORKER_ID, "t", 25) == found
        else:
            with pytest.raises(TrackerUnreachable):
                await client.next_job(WORKER_ID, "t", 25)
        await client.close()
        await server.close()


@virtual_time
async def test_a_result_over_a_slow_line() -> None:
    """The larger it is, the more time it has."""
    server = await _dripping(b'{"job_id": "a", "status": "completed"}', 50.0)
    client = WorkerClient(str(server.make_url("/")).rstrip("/"))
    assert (await client.complete(job_id(1), "t", b" " * (8 * 1024 * 1024))).status == "completed"
    with pytest.raises(TrackerUnreachable):
        await client.complete(job_id(1), "t", b"{}")
    await client.close()
    await server.close()

"""A tracker's queue on loopback, as the clients see it: what it answers can be changed, what it was asked is kept."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from gpunode_protocol import jobs_api as api
from gpunode_protocol.tracker_api import Problem

from tests.sdk.threaded_server import served_in_a_thread

JOB = "01900000-0000-7000-8000-000000000001"
RESULT = {"response": "Hi!", "finish_reason": "stop", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
Events = list[tuple[str, dict[str, Any]] | str]
"""Events as name and data; ``cut`` breaks the stream off, ``end`` ends it."""


def view(**changes: Any) -> api.JobView:
    """Return a completed chat."""
    fields = {
        "job_id": JOB,
        "type": "llm",
        "status": "completed",
        "priority": 0,
        "result": RESULT,
        "attempts": 1,
        "served_by": "worker:w1",
        "created_at": 1_750_000_000,
        "started_at": 1_750_000_001,
        "completed_at": 1_750_000_004,
    }
    return api.JobView(**{**fields, **changes})


@dataclass
class QueueServer:
    """streams: of the calls for events, one after the other, the last one for all further ones."""

    job: api.JobView = field(default_factory=view)
    streams: list[Events] = field(default_factory=lambda: [[("done", {"status": "completed"})]])
    problem: Problem | None = None
    lost_answers: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._noted], client_max_size=2**28)
        app.router.add_post(api.JOBS_PATH, self._submit)
        app.router.add_get(api.JOBS_PATH, self._list)
        app.router.add_get(api.JOB_EVENTS_PATH, self._events)
        app.router.add_get(api.JOB_PATH, self._show)
        app.router.add_delete(api.JOB_PATH, self._cancel)
        return app

    @web.middleware
    async def _noted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs))
        self.headers.append(dict(request.headers))
        if request.can_read_body:
            self.bodies.append(json.loads(await request.read()))
        if self.problem is not None:
            return _json(self.problem, self.problem.status)
        response: web.StreamResponse = await handler(request)
        return response

    async def _submit(self, request: web.Request) -> web.Response:
        if self.lost_answers:
            self.lost_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return _json(api.JobTicket(job_id=JOB, status="queued", note="No live worker."), 202)

    async def _list(self, _: web.Request) -> web.Response:
        job = self.job.model_copy(update={"result": None})
        return _json(api.JobsPage(jobs=(job,), next_cursor=JOB))

    async def _show(self, _: web.Request) -> web.Response:
        return _json(self.job)

    async def _cancel(self, _: web.Request) -> web.Response:
        return _json(self.job.model_copy(update={"status": "cancelled", "result": None}))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        events = self.streams.pop(0) if len(self.streams) > 1 else self.streams[0]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            if event == "cut":
                assert request.transport is not None
                request.transport.abort()
            elif isinstance(event, tuple):
                await response.write(f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n".encode())
        return response


@contextmanager
def queue_server() -> Iterator[QueueServer]:
    """Run one in a thread of its own, beside the clients' event loop."""
    queue = QueueServer()
    with served_in_a_thread(queue.app()) as queue.url:
        yield queue


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(text=body.model_dump_json(), status=status, content_type="application/json")

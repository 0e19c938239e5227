"""A tracker's queue in the tests' process that plays one job's story."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode_protocol.jobs_api import JOB_EVENTS_PATH, JOB_PATH, JOBS_PATH, JobView
from gpunode_protocol.tasks import Task

JOB = "01890000-0000-7000-8000-000000000001"
RECEIPT = "ab" * 32
STORY: tuple[tuple[str, dict[str, Any]], ...] = (
    ("queued", {"position": 1, "estimated_wait": 2.4}),
    ("running", {"attempt": 1, "served_by": "worker:w"}),
    ("tokens", {"text": "Par"}),
    ("progress", {"step": 1, "total": 2}),
    ("tokens", {"text": "is.\x1b[2J"}),
    ("done", {"status": "completed"}),
)


def ended(**changes: Any) -> JobView:
    """Return the job after its end."""
    fields: dict[str, Any] = {
        "job_id": JOB,
        "type": Task.LLM,
        "status": "completed",
        "priority": 0,
        "model": "smollm2-135m",
        "result": {"response": "Paris.", "usage": {"prompt_tokens": 9, "completion_tokens": 3}},
        "attempts": 1,
        "served_by": "worker:w",
        "receipt": RECEIPT,
        "created_at": 1_800_000_000,
    }
    return JobView(**fields | changes)


@dataclass
class QueueServer:
    """asked: submissions. view: how the job is. refusal: status and detail of every answer, if there is one."""

    story: tuple[tuple[str, dict[str, Any]], ...] = STORY
    view: JobView = field(default_factory=ended)
    refusal: tuple[int, bytes] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)

    def server(self) -> TestServer:
        """Return it, not started."""
        app = web.Application()
        app.router.add_post(JOBS_PATH, self._submit)
        app.router.add_get(JOB_PATH, self._job)
        app.router.add_get(JOB_EVENTS_PATH, self._events)
        return TestServer(app)

    def _refused(self, request: web.Request) -> web.Response | None:
        self.keys.add(request.headers.get("Authorization"))
        return web.Response(status=self.refusal[0], body=self.refusal[1]) if self.refusal else None

    async def _submit(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        self.asked.append(await request.json())
        return web.json_response({"job_id": JOB, "status": "queued", "estimated_wait": 2.4}, status=202)

    async def _job(self, request: web.Request) -> web.Response:
        text = self.view.model_dump_json(exclude_none=True)
        return self._refused(request) or web.Response(text=text, content_type="application/json")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._refused(request)) is not None:
            return refused
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b": nothing new\n\n")
        for name, data in self.story:
            await stream.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        return stream

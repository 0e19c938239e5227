"""A tracker in the tests' process that has a queue: an aiohttp server that speaks ``jobs_api`` for one pull worker.

What a worker with a key delivers is read as the tracker reads it, by the protocol's own ``ClientJob``.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode_node.bell import Bell
from gpunode_protocol import jobs_api, tracker_api
from gpunode_protocol.client_job import ClientJob, Completed
from gpunode_protocol.identity import public_key_of
from gpunode_protocol.job_params import read_job_params
from gpunode_protocol.job_results import ResultReader
from gpunode_protocol.jobs_api import JobCompletion, NextJob, WorkerEvent, WorkerHeartbeat, WorkerRegistration
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Envelope, Signed, WireModel, open_signed
from gpunode_protocol.tasks import Task

from tests.node.fake_tracker import CHALLENGE, FakeTracker
from tests.node.world import CLIENT, EPOCH, NODE, request

WORKER_ID = "11111111-2222-4333-8444-555555555555"
SALT = b"s" * 32
CHAT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 16, "temperature": 0}
PAID = 77


@dataclass
class Ended:
    """One end that was delivered. result, receipt: of a verified transcript."""

    job_id: str
    body: JobCompletion
    result: dict[str, Any] = field(default_factory=dict)
    proof: Completed | None = None


@dataclass
class Given:
    """A job as the queue gives it, with what its answer is checked by."""

    job: NextJob
    request: Signed[JobRequest] | None


class FakeQueue(FakeTracker):
    """What it answers can be changed; what it was told is kept. ``changed`` rings at every word of a worker."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[Given | bytes] = deque()
        self.given: dict[str, Given] = {}
        self.enlisted: list[WorkerRegistration] = []
        self.beats: list[WorkerHeartbeat] = []
        self.events: dict[str, list[WorkerEvent]] = {}
        self.ended: list[Ended] = []
        self.polls = 0
        self.aborted_polls = 0
        self.lost: set[str] = set()  #: jobs that somebody else has, or that were cancelled
        self.answers: dict[str, Callable[[], web.Response]] = {}  #: instead of the real one, by the end of the path
        self.maintenance = False
        self.changed = Bell()

    def app(self) -> web.Application:
        """Return the application."""
        app = super().app()
        app.router.add_post(jobs_api.WORKER_REGISTER_PATH, self._enlist)
        app.router.add_post(jobs_api.WORKER_HEARTBEAT_PATH, self._beat)
        app.router.add_get(jobs_api.NEXT_JOB_PATH, self._next)
        app.router.add_post(jobs_api.JOB_EVENTS_PATH, self._event)
        app.router.add_post(jobs_api.COMPLETE_PATH, self._complete)
        return app

    # What tests do with it

    def put(
        self, attempt: int = 1, *, task: Task = Task.LLM, params: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        """Queue a job and return its id; ``changes`` replace fields of its signed request."""
        value = CHAT if params is None else params
        order = read_job_params(task, value).to_order(SALT, EPOCH)
        fields = {"params": order.params.to_map(), "task": task.value, "salt": SALT, "model": "smollm2-135m"}
        signed = request(**fields | changes)
        job = NextJob(
            job_id=signed.body.job,
            type=task,
            params=value,
            attempt=attempt,
            lease_s=jobs_api.LEASE_S,
            request=signed.envelope,
        )
        self.waiting.append(Given(job, signed))
        self.changed.ring()
        return signed.body.job

    def put_as_it_is(self, job: NextJob | bytes) -> None:
        """Queue an answer that may be wrong."""
        self.waiting.append(job if isinstance(job, bytes) else Given(job, None))
        self.changed.ring()

    async def until(self, condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
        """Wait until the worker's words have made a condition true."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                await self.changed.wait()

    async def until_ended(self, count: int = 1) -> list[Ended]:
        """Wait until so many ends were delivered."""
        await self.until(lambda: len(self.ended) >= count)
        return self.ended

    def text_of(self, job_id: str) -> str:
        """Return what was told of a job on its way."""
        return "".join(event.text for event in self.events.get(job_id, ()))

    # What the worker does with it

    def _instead(self, name: str) -> web.Response | None:
        answer = self.answers.get(name)
        return answer() if answer is not None else None

    async def _enlist(self, asked: web.Request) -> web.Response:
        if (answer := self._instead("register")) is not None:
            return answer
        body = WorkerRegistration.model_validate_json(await asked.read())
        assert body.registration is not None
        proof = open_signed(tracker_api.Registration, body.registration, public_key_of(NODE.peer_id)).body
        assert proof.challenge == CHALLENGE
        self.enlisted.append(body)
        self.tokens = [f"token-{len(self.enlisted)}"]
        self.changed.ring()
        region = body.region or self.region
        return _reply(jobs_api.WorkerCredentials(worker_id=WORKER_ID, token=self.tokens[0], region=region))

    async def _beat(self, asked: web.Request) -> web.Response:
        self._check_token(asked)
        if (answer := self._instead("heartbeat")) is not None:
            return answer
        body = WorkerHeartbeat.model_validate_json(await asked.read())
        self.beats.append(body)
        lost = tuple(job_id for job_id in body.holding if job_id in self.lost)
        self.changed.ring()
        return _reply(jobs_api.WorkerHeartbeatReply(lost=lost, maintenance=self.maintenance, time=EPOCH))

    async def _next(self, asked: web.Request) -> web.Response:
        self._check_token(asked)
        self.polls += 1
        self.changed.ring()
        if (answer := self._instead("next-job")) is not None:
            return answer
        try:
            async with asyncio.timeout(int(asked.query["wait"])):
                while not self.waiting:
                    await self.changed.wait()
        except TimeoutError:
            return _reply(NextJob(reasons={"model": 2}))
        except asyncio.CancelledError:
            self.aborted_polls += 1
            self.changed.ring()
            raise
        given = self.waiting.popleft()
        if isinstance(given, bytes):
            return web.Response(body=given, content_type="application/json")
        self.given[given.job.job_id or ""] = given
        return _reply(given.job)

    async def _event(self, asked: web.Request) -> web.Response:
        self._check_token(asked)
        if (answer := self._instead("events")) is not None:
            self.changed.ring()
            return answer
        job_id = asked.match_info["job"]
        if job_id in self.lost:
            return _problem(409, "The job is not yours any more.")
        self.events.setdefault(job_id, []).append(WorkerEvent.model_validate_json(await asked.read()))
        self.changed.ring()
        return web.Response(status=204)

    async def _complete(self, asked: web.Request) -> web.Response:
        self._check_token(asked)
        if (answer := self._instead("complete")) is not None:
            self.changed.ring()
            return answer
        job_id = asked.match_info["job"]
        if job_id in self.lost:
            return _problem(409, "The job is not yours any more.")
        body = JobCompletion.model_validate_json(await asked.read())
        self.ended.append(self._checked(Ended(job_id, body)))
        self.changed.ring()
        status = "completed" if body.success else "queued"
        return _reply(jobs_api.CompletionReply(job_id=job_id, status=status, paid_microcredits=PAID * body.success))

    def _checked(self, ended: Ended) -> Ended:
        """Read a transcript as the tracker does: whatever is wrong with it fails the test."""
        if not ended.body.success:
            return ended
        signed = self.given[ended.job_id].request
        assert signed is not None
        assert ended.body.transcript is not None
        job = ClientJob(CLIENT, signed, "grant-1", opened_at=0.0)
        reader = ResultReader(job.params)
        for event in [*job.receive_data(ended.body.transcript, 0.0), *job.receive_eof()]:
            reader.take(event)
            if isinstance(event, Completed):
                ended.result, ended.proof = reader.result(event), event
        assert ended.proof is not None
        return ended


def chat_of(text: str = "hello", **changes: Any) -> dict[str, Any]:
    """Return the parameters of a chat as REST takes them."""
    return CHAT | {"messages": [{"role": "user", "content": text}]} | changes


def _reply(body: WireModel) -> web.Response:
    return web.Response(text=body.model_dump_json(exclude_none=True), content_type="application/json")


def _problem(status: int, detail: str) -> web.Response:
    problem = tracker_api.Problem(title="No", status=status, detail=detail)
    return web.Response(text=problem.model_dump_json(), status=status, content_type="application/problem+json")


def refusing(status: int, detail: str = "no", **headers: str) -> Callable[[], web.Response]:
    """Return an answer for ``answers``; underscores in header names become hyphens."""

    def answer() -> web.Response:
        response = _problem(status, detail)
        response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        return response

    return answer


def unsigned(job_id: str, **changes: Any) -> NextJob:
    """Return a job without the request that a key needs."""
    fields: dict[str, Any] = {"job_id": job_id, "type": Task.LLM, "params": CHAT, "attempt": 1, "lease_s": 60}
    return NextJob(**fields | changes)


def envelope_of_garbage() -> Envelope:
    """Return an envelope that holds no request."""
    return Envelope(body=b"\x80", signature=b"0" * 64)


@contextlib.asynccontextmanager
async def running_queue() -> AsyncIterator[FakeQueue]:
    """A tracker with a queue on loopback."""
    queue = FakeQueue()
    async with TestServer(queue.app()) as server:
        queue.url = str(server.make_url("/")).rstrip("/")
        yield queue

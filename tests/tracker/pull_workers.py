"""Pull workers for the tracker's tests: they speak plain HTTP, and sign what real ones would sign."""

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientResponse
from gpunode_protocol import jobs_api
from gpunode_protocol.grants import Grant, grant_key_id, read_grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.messages import AcceptedFrame
from gpunode_protocol.node_job import NodeJob
from gpunode_protocol.payloads import Usage
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Envelope, Signed, WireModel, open_self_named
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.job import StoredJob
from gpunode_tracker.jobs.waiting import WaitingPolls
from gpunode_tracker.storage.accounts import find_account
from gpunode_tracker.storage.jobs import find_job

from tests.tracker.conftest import World
from tests.tracker.parties import START_AT

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
ANSWER = {"response": "Hi!", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}


@dataclass
class PullWorker:
    """A registered worker. identity: its key, if it has one."""

    world: World
    id: str
    token: str
    identity: Identity | None = None

    async def heartbeat(self, status: str = "online", **fields: Any) -> jobs_api.WorkerHeartbeatReply:
        """Send a heartbeat that must be taken."""
        response = await self.post(jobs_api.WORKER_HEARTBEAT_PATH, {"status": status, **fields})
        assert response.status == 200, await response.text()
        return jobs_api.WorkerHeartbeatReply.model_validate_json(await response.text())

    async def next_job(self, wait: int = 0) -> jobs_api.NextJob:
        """Ask for a job."""
        response = await self.get(jobs_api.NEXT_JOB_PATH, f"?wait={wait}" if wait else "")
        assert response.status == 200, await response.text()
        return jobs_api.NextJob.model_validate_json(await response.text())

    async def complete(self, job_id: str | None, **body: Any) -> jobs_api.CompletionReply:
        """Complete a job; the completion must be taken."""
        response = await self.try_to_complete(job_id, **body)
        assert response.status == 200, await response.text()
        return jobs_api.CompletionReply.model_validate_json(await response.text())

    async def try_to_complete(self, job_id: str | None, **body: Any) -> ClientResponse:
        """Complete a job, with a plain answer if nothing else is said."""
        fields = body or {"success": True, "result": ANSWER, "processing_time": 0.5}
        return await self._send(jobs_api.COMPLETE_PATH.format(job=job_id), fields)

    async def tell(self, job_id: str | None, **event: Any) -> ClientResponse:
        """Send an event of a job."""
        return await self._send(jobs_api.JOB_EVENTS_PATH.format(job=job_id), event)

    async def post(self, path: str, body: dict[str, Any]) -> ClientResponse:
        """Send JSON to a path of its own."""
        return await self._send(path.format(worker=self.id), body)

    async def get(self, path: str, query: str = "") -> ClientResponse:
        """Get a path of its own."""
        return await self.world.get(path.format(worker=self.id) + query, token=self.token)

    async def _send(self, path: str, body: dict[str, Any]) -> ClientResponse:
        headers = {"X-Worker-Token": self.token}
        plain = {name: value for name, value in body.items() if not isinstance(value, bytes)}
        given = {name: _as_base64(value) for name, value in body.items() if isinstance(value, bytes)}
        return await self.world.http.post(path, json=plain | given, headers=headers)

    def answer(self, job: jobs_api.NextJob, text: str = "Hi!", **changes: Any) -> bytes:
        """Return the transcript of an answer to a job's signed request, two tokens long."""
        assert self.identity is not None
        assert job.request is not None
        return Answering(self.world, self.identity, job.request).transcript(text, **changes)


@dataclass
class Answering:
    """A signed request that is answered as a node would."""

    world: World
    identity: Identity
    envelope: Envelope

    @property
    def request(self) -> Signed[JobRequest]:
        """The request, whose signature is the tracker's dispatch key's."""
        return open_self_named(JobRequest, self.envelope, lambda _: self.world.tracker.dispatch.public_key)

    @property
    def grant(self) -> Grant:
        """The grant in it, which verifies with the tracker's signing key."""
        keys, token = self.world.tracker.keys, self.request.body.grant
        public = {key.kid: key.public_key for key in keys.keyset.body.keys}[grant_key_id(token)]
        return read_grant(token, public_key=public, network=keys.network, now=self.world.tracker.clock())

    def transcript(self, text: str, *, finish_reason: str = "stop", prompt_tokens: int = 5) -> bytes:
        """Return the frames of an answer."""
        job = NodeJob(self.identity, self.request, self.grant, arrived_at=0.0)
        accepted = AcceptedFrame(
            prompt_tokens=prompt_tokens, position=0, eta_s=0.0, fingerprint=bytes(32), prompt_digest=bytes(32)
        )
        job.accept(accepted, input_count=prompt_tokens)
        job.tokens((1, 2), text, now=0.1)
        usage = Usage(input_tokens=prompt_tokens, output_tokens=2)
        job.finish(usage=usage, finish_reason=finish_reason, now=0.2, finished_at=START_AT)
        return b"".join(job.frames)


def _as_base64(data: bytes) -> str:
    class Holder(WireModel):
        data: bytes

    value: str = Holder(data=data).model_dump(mode="json")["data"]
    return value


async def pull_worker(world: World, *, identity: Identity | None = None, **fields: Any) -> PullWorker:
    """Return a worker of Europe that does chats, registered with its key if it has one."""
    body = {"region": "europe", "supported_types": ["llm"]} | fields
    if identity is not None:
        body["registration"] = (await world.registration(identity)).model_dump(mode="json")
    response = await world.http.post(jobs_api.WORKER_REGISTER_PATH, json=body)
    assert response.status == 201, await response.text()
    credentials = jobs_api.WorkerCredentials.model_validate_json(await response.text())
    return PullWorker(world, credentials.worker_id, credentials.token, identity)


async def submit(world: World, account_id: str, *, client_region: str | None = None, **fields: Any) -> str:
    """Put a job into the queue as an account; return its id."""
    submission = jobs_api.JobSubmission(**({"type": Task.LLM, "params": CHAT} | fields))
    tracker = world.tracker
    async with tracker.database.read() as connection:
        account = await find_account(connection, account_id)
    assert account is not None
    job = await tracker.desk.submit(account, "key", submission, address="127.0.0.1", region=client_region)
    return job.id


async def stored_job(world: World, job_id: str | None) -> StoredJob:
    """Return a job as the database has it."""
    async with world.tracker.database.read() as connection:
        job = await find_job(connection, job_id or "")
    assert job is not None
    return job


class _WatchedPolls(dict[Any, None]):
    """The waiting polls, whose comings and goings are seen."""

    def __init__(self, polls: dict[Any, None]) -> None:
        super().__init__(polls)
        self.changed = asyncio.Event()

    def __setitem__(self, key: Any, value: None) -> None:
        super().__setitem__(key, value)
        self.changed.set()

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        self.changed.set()


async def until_waiting(waiting: WaitingPolls, count: int) -> None:
    """Return when so many polls wait for a job."""
    if not isinstance(waiting._polls, _WatchedPolls):
        waiting._polls = _WatchedPolls(waiting._polls)
    async with asyncio.timeout(20):
        while len(waiting) != count:
            waiting._polls.changed.clear()
            await waiting._polls.changed.wait()

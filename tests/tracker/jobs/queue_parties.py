"""A queue with a client in front of it and somebody who works behind it."""

from dataclasses import dataclass
from typing import Any

from gpunode_protocol.client_job import ClientJob, Completed
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.grants import grant_key_id, read_grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.job_results import ResultReader
from gpunode_protocol.jobs_api import LEASE_S, JobSubmission
from gpunode_protocol.messages import AcceptedFrame
from gpunode_protocol.node_job import NodeJob
from gpunode_protocol.payloads import Usage
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.job import Lease, StoredJob
from gpunode_tracker.jobs.lanes import lanes_for
from gpunode_tracker.storage import jobs, ledger
from gpunode_tracker.storage.accounts import Account, find_account
from gpunode_tracker.storage.tables import transfers, workers
from gpunode_tracker.tracker import Tracker
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100}
COST = 10 * (len("Hello") + 512 + 32) + 30 * 100
"""What ``HELLO`` can cost at most, micro-credits: the prompt's bound and all tokens, at the default prices."""
ANSWER = {"response": "Hi!", "finish_reason": "stop", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
PROMPT_TOKENS = 3


def submission(**changes: Any) -> JobSubmission:
    """Return a chat's submission."""
    return JobSubmission(**{"type": Task.LLM, "params": HELLO, **changes})


@dataclass
class Queue:
    """Short ways to the desk and to the queue behind it."""

    tracker: Tracker

    async def account(self, account_id: str) -> Account:
        """Return an account."""
        async with self.tracker.database.read() as connection:
            found = await find_account(connection, account_id)
        assert found is not None
        return found

    async def submit(self, account_id: str, **changes: Any) -> StoredJob:
        """Submit a chat."""
        return await self.tracker.desk.submit(
            await self.account(account_id), "key-1", submission(**changes), address="203.0.113.7", region="europe"
        )

    async def claim(self, holder: str = "worker:none", *, task: Task = Task.LLM) -> tuple[StoredJob, Lease]:
        """Take the first job of a task without region and model; a worker is made if it is not there."""
        async with self.tracker.database.write() as connection:
            await _ensure_worker(connection, holder, now=self.tracker.now)
            lanes = lanes_for([task], None, ())
            job = await jobs.claim_job(connection, holder, lanes, now=self.tracker.now, lease_s=LEASE_S)
        assert job is not None
        return job, Lease(job_id=job.id, holder=holder, attempt=job.attempt)

    async def job(self, job_id: str) -> StoredJob:
        """Return a job as it is."""
        async with self.tracker.database.read() as connection:
            job = await jobs.find_job(connection, job_id)
        assert job is not None
        return job

    async def balance(self, name: str) -> int:
        """Return a ledger account's balance, micro-credits."""
        async with self.tracker.database.read() as connection:
            return await ledger.balance(connection, name)

    async def ledger_sum(self) -> int:
        """Return the sum of all transfers: always 0."""
        async with self.tracker.database.read() as connection:
            return int((await connection.execute(select(func.sum(transfers.c.microcredits)))).scalar_one() or 0)


async def _ensure_worker(connection: AsyncConnection, holder: str, *, now: int) -> None:
    kind, _, worker_id = holder.partition(":")
    known = select(workers.c.id).where(workers.c.id == worker_id)
    if kind != "worker" or (await connection.execute(known)).first() is not None:
        return
    values: dict[str, Any] = dict.fromkeys(("name", "country", "city", "gpu_model"), "")
    values |= dict.fromkeys(("gpu_memory_gb", "memory_used_gb", "success_rate", "total_jobs"), 0)
    values |= {"id": worker_id, "status": "online", "region": "europe", "supported_types": [], "models": []}
    await connection.execute(insert(workers).values(**values, maintenance=False, registered_at=now))


def answer_request(
    tracker: Tracker, request: Signed[JobRequest], worker: Identity, *, tokens: tuple[str, ...] = ("Hi", "!")
) -> tuple[Completed, dict[str, Any]]:
    """Answer a signed request as a node does, and read it as its client: what has verified, and the job's result."""
    body = request.body
    keys = {key.kid: key.public_key for key in tracker.keys.keyset.body.keys}
    grant = read_grant(
        body.grant, public_key=keys[grant_key_id(body.grant)], network=tracker.keys.network, now=tracker.now
    )
    node = NodeJob(identity=worker, request=request, grant=grant, arrived_at=0.0)
    accepted = AcceptedFrame(
        prompt_tokens=PROMPT_TOKENS,
        position=0,
        eta_s=0.0,
        fingerprint=bytes(32),
        prompt_digest=salted_digest(body.salt, "prompt", b"rendered"),
    )
    node.accept(accepted, input_count=PROMPT_TOKENS)
    for number, text in enumerate(tokens):
        node.tokens([number], text, now=0.1)
    usage = Usage(input_tokens=PROMPT_TOKENS, output_tokens=len(tokens))
    node.finish(usage=usage, finish_reason="stop", now=0.2, finished_at=tracker.now)
    client, reader = ClientJob(tracker.dispatch, request, grant.jti, opened_at=0.0), ResultReader(body.read_params())
    for event in client.receive_data(b"".join(node.frames), 0.3):
        reader.take(event)
        if isinstance(event, Completed):
            return event, reader.result(event)
    raise AssertionError("the answer did not verify")

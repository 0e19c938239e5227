"""What workers say of the jobs that they hold: that they go on, what comes out, and the end."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import PeerId
from gpunode_protocol.jobs_api import (
    MAX_ATTEMPTS,
    CompletionReply,
    JobCompletion,
    JobEventName,
    JsonObject,
    WorkerEvent,
)
from gpunode_protocol.tasks import Task

from gpunode_tracker.errors import InvalidRequest, LeaseLost, NotFound, TranscriptRefused
from gpunode_tracker.jobs.job import JobStatus, Lease, StoredJob, is_job_id, worker_holder
from gpunode_tracker.jobs.news import Word
from gpunode_tracker.storage.attempts import Attempt, attempt_of
from gpunode_tracker.storage.jobs import find_job_without_params
from gpunode_tracker.storage.settlements import settlement_of_receipt
from gpunode_tracker.workers.outcomes import shown_text
from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.transcripts import ProvenResult, read_transcript

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

NO_REASON: Final = "The worker could not do it and gave no reason."
_RESULT_FIELDS: Final[Mapping[Task, tuple[str, type]]] = {
    Task.LLM: ("response", str),
    Task.IMAGE_GEN: ("images", list),
    Task.WHISPER: ("text", str),
    Task.EMBEDDING: ("embeddings", list),
}
"""What a result is nothing without, see ``gpunode_protocol.job_results``."""


class Completing:
    """Takes the words of workers.

    Args:
        tracker: whose jobs and workers they are.
    """

    def __init__(self, tracker: "Tracker") -> None:
        self._tracker = tracker

    async def renew(self, worker: LiveWorker, holding: Mapping[str, int] | None) -> tuple[str, ...]:
        """Let a worker have its jobs for longer; return those that it has no more.

        Args:
            holding: attempts by job, as it says; None = it does not say, all that it has are meant.
        """
        if not (worker.holding if holding is None else holding):
            return ()
        presence, holder = self._tracker.workers.presence, worker_holder(worker.id)
        said = {job_id: held.attempt for job_id, held in worker.holding.items()} if holding is None else holding
        leases = [
            Lease(job_id=job_id, holder=holder, attempt=attempt)
            for job_id, attempt in said.items()
            if is_job_id(job_id) and 0 < attempt <= MAX_ATTEMPTS
        ]
        held = await self._tracker.workers.renewals.renew(leases)
        for lease in leases:
            if lease not in held:
                presence.release(worker.id, lease.job_id)
            elif lease.job_id not in worker.holding:
                presence.hold(worker.id, lease.job_id, lease.attempt, is_exact=False)
        kept = {lease.job_id for lease in held}
        return tuple(job_id for job_id in said if job_id not in kept)

    async def event(self, worker: LiveWorker, job_id: str, event: WorkerEvent) -> None:
        """Tell the followers of a job what its worker said, and let the worker have it for longer.

        Raises:
            NotFound: it never had that job. LeaseLost: it has it no more.
        """
        lease = Lease(job_id=job_id, holder=worker_holder(worker.id), attempt=event.attempt)
        is_possible = is_job_id(job_id) and event.attempt <= MAX_ATTEMPTS
        if not is_possible or not await self._tracker.workers.renewals.renew((lease,), unless_fresh=True):
            _, attempt = await self._find(worker, job_id, event.attempt)
            raise LeaseLost(attempt.failure)
        news = self._tracker.news
        if event.text:
            news.tell(Word(job_id, JobEventName.TOKENS, {"text": event.text}))
        if event.step is not None and event.total is not None:
            news.tell(Word(job_id, JobEventName.PROGRESS, {"step": event.step, "total": event.total}))

    async def complete(self, worker: LiveWorker, job_id: str, body: JobCompletion) -> CompletionReply:
        """End a worker's attempt; the same once more is answered the same.

        Raises:
            NotFound: it never had that job. LeaseLost: it has it no more.
            InvalidRequest: there is no result, or it is none of this type; it may be sent again.
            TranscriptRefused: what a worker with a key sent proves nothing; the attempt has failed.
        """
        job, attempt = await self._find(worker, job_id, body.attempt)
        if attempt.ended_at is not None:
            return await self._said_before(job, attempt, body)
        lease = Lease(job_id=job_id, holder=attempt.holder, attempt=attempt.attempt)
        outcomes = self._tracker.workers.outcomes
        if not body.success:
            ended = await outcomes.fail(lease, body.error or NO_REASON, retryable=body.retryable)
        elif worker.stored.peer is not None and job.request is not None:
            proven = await self._proven(job, lease, body)
            ended = await outcomes.complete(
                lease,
                proven.result,
                started_at=attempt.started_at,
                peer=PeerId(worker.stored.peer),
                proof=proven.proof,
            )
        else:
            result = await asyncio.to_thread(_checked, Task(job.type), body.result)
            ended = await outcomes.complete(lease, result, started_at=attempt.started_at)
        if ended is None:  # it went while the answer was being read; or another call said the same meanwhile
            job, attempt = await self._find(worker, job_id, attempt.attempt)
            return await self._said_before(job, attempt, body)
        return await self._reply(ended)

    async def _proven(self, job: StoredJob, lease: Lease, body: JobCompletion) -> ProvenResult:
        if body.transcript is None:
            raise InvalidRequest(
                "This worker has a key, so its answer is proved by one: send the transcript, the frames of the job "
                "stream from accepted to done."
            )
        tracker = self._tracker
        try:
            request = tracker.desk.request_of(job)
            if request is None or job.jti is None:
                raise LookupError("a keyed worker's job without a request")
            return await asyncio.to_thread(read_transcript, tracker.dispatch, request, job.jti, body.transcript)
        except GpunodeError as error:
            reason = f"The worker's transcript does not verify: {error}"
            if await tracker.workers.outcomes.fail(lease, reason) is None:
                raise LeaseLost from error
            raise TranscriptRefused(reason) from error

    async def _find(self, worker: LiveWorker, job_id: str, number: int | None) -> tuple[StoredJob, Attempt]:
        if is_job_id(job_id) and (number is None or number <= MAX_ATTEMPTS):
            async with self._tracker.database.read() as connection:
                attempt = await attempt_of(connection, job_id, worker_holder(worker.id), number)
                job = await find_job_without_params(connection, job_id) if attempt is not None else None
            if job is not None and attempt is not None:
                return job, attempt
        raise NotFound("You hold no such job. Ask for the next one.")

    async def _said_before(self, job: StoredJob, attempt: Attempt, body: JobCompletion) -> CompletionReply:
        """Answer an attempt that has ended, if it ended by the same word."""
        is_same_end = job.status is JobStatus.COMPLETED and job.attempt == attempt.attempt
        if body.success and is_same_end:
            return await self._reply(job)
        if not body.success and attempt.failure == shown_text(body.error or NO_REASON):
            return await self._reply(job)
        raise LeaseLost(attempt.failure)

    async def _reply(self, job: StoredJob) -> CompletionReply:
        paid = 0
        if job.receipt_digest is not None and job.status is JobStatus.COMPLETED:
            async with self._tracker.database.read() as connection:
                settlement = await settlement_of_receipt(connection, job.receipt_digest)
            paid = settlement.settled.paid if settlement is not None else 0
        return CompletionReply(job_id=job.id, status=job.status.value, paid_microcredits=paid)


def _checked(task: Task, result: JsonObject | None) -> JsonObject:
    """Return a plain worker's result if it can be one.

    Raises:
        InvalidRequest: it cannot.
    """
    name, kind = _RESULT_FIELDS[task]
    if result is None or not isinstance(result.get(name), kind):
        what = "text" if kind is str else "a list"
        raise InvalidRequest(f"A result of {task} is an object with {name!r}, which is {what}. Send it again so.")
    try:
        json.dumps(result, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The result is too deep, or has a number that JSON does not know, such as NaN.") from error
    return result

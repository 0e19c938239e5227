"""Queued jobs, for those who submit them."""

import asyncio
import re
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from aiohttp import hdrs, web
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.jobs_api import (
    IDEMPOTENCY_KEY_HEADER,
    JOB_PATH,
    JobEventName,
    JobProblem,
    JobsPage,
    JobSubmission,
    JobTicket,
)
from gpunode_protocol.tasks import Task

from gpunode_tracker.app_keys import CALL, GUARD, STOPPING, TRACKER
from gpunode_tracker.auth import account_of, key_of
from gpunode_tracker.bodies import read_body, reply, to_json
from gpunode_tracker.errors import InvalidRequest, NotFound, Rejected
from gpunode_tracker.geoip import Place
from gpunode_tracker.handlers.event_stream import EventStream
from gpunode_tracker.handlers.large_reply import send_json
from gpunode_tracker.jobs.desk import FiledJob, Sender
from gpunode_tracker.jobs.following import follow
from gpunode_tracker.jobs.job import JobStatus, StoredJob, is_job_id
from gpunode_tracker.jobs.views import view_of, whole_view
from gpunode_tracker.problems import problem_reply, problem_told, problem_with_location
from gpunode_tracker.queries import read_choice, read_limit
from gpunode_tracker.quotas import free_body, hold_body
from gpunode_tracker.storage import attempts, jobs
from gpunode_tracker.storage.accounts import Account
from gpunode_tracker.storage.job_results import find_result, result_bytes
from gpunode_tracker.tracker import Tracker

BODY_TIMEOUT_S: Final = 120.0
"""Files in a job's parameters may be some dozens of megabytes; a slow line needs its time."""
MAX_KEY_CHARS: Final = 255
DEFAULT_PAGE: Final = 20
_IDEMPOTENCY_KEY: Final = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARS}}}")


async def post_job(request: web.Request) -> web.Response:
    """POST /api/v1/jobs: queue a job and reserve what it may cost; answers at once.

    The same request with the same Idempotency-Key within a day names the same job again, with status 200.
    """
    tracker = request.app[TRACKER]
    filed = await _file(request)
    estimate = await tracker.outlook.of(filed.job) if filed.job.status is JobStatus.QUEUED else None
    ticket = JobTicket(
        job_id=filed.job.id,
        status=filed.job.status.value,
        estimated_wait=estimate.wait_s if estimate else None,
        note=estimate.note if estimate else "",
        webhook_secret=filed.webhook_secret,
    )
    response = reply(ticket, status=202 if filed.is_new else 200, no_store=True)
    response.headers["Location"] = _path_of(filed.job)
    return response


async def post_sync_job(request: web.Request) -> web.StreamResponse:
    """POST /api/v1/jobs/sync: queue a job and wait for its end, a minute at most.

    The answer is the job as GET shows it, whether it completed, failed or was cancelled. 504: it has not ended yet; it
    goes on, and ``job_id`` in the problem and the Location header name it. A caller that leaves changes nothing.
    """
    tracker = request.app[TRACKER]
    request[CALL].visit.will_wait()  # now: whoever is refused afterwards would not know of its job
    filed = await _file(request)
    with tracker.key_watch.watching(key_of(request), request[CALL].address) as why_not:
        has_ended = await _has_ended(request, filed.job, lambda: why_not() is not None)
        refusal = why_not()
    if refusal is not None:
        return problem_with_location(refusal, _path_of(filed.job))
    if not has_ended:
        return _not_yet(filed.job, tracker.settings.sync_timeout_s)
    try:
        return await _shown(request, filed.job.account_id, filed.job.id)
    except Rejected as error:  # there is no memory for a large result now
        tracker.metrics.rejected.labels(error.reason).inc()
        return problem_with_location(error, _path_of(filed.job))


async def get_job(request: web.Request) -> web.StreamResponse:
    """GET /api/v1/jobs/{job}: how a job is, with its result once it has completed."""
    account = await account_of(request)
    return await _shown(request, account.id, request.match_info["job"])


async def delete_job(request: web.Request) -> web.Response:
    """DELETE /api/v1/jobs/{job}: cancel a job that has not ended; what was reserved for it goes back.

    Cancelling it again changes nothing. 409: it has completed or failed.
    """
    tracker, account = request.app[TRACKER], await account_of(request)
    job = await _find_state(tracker, account, request.match_info["job"])
    cancelled = await tracker.desk.cancel(job)
    async with tracker.database.read() as connection:
        failures = await attempts.failures_of(connection, job.id)
    return reply(view_of(cancelled, failures=failures))


async def get_jobs(request: web.Request) -> web.Response:
    """GET /api/v1/jobs?status=&type=&cursor=&limit=: own jobs without their results, newest first."""
    tracker, account = request.app[TRACKER], await account_of(request)
    status, task = read_choice(request, "status", JobStatus), read_choice(request, "type", Task)
    limit = read_limit(request, DEFAULT_PAGE)
    cursor = request.query.get("cursor") or None
    if cursor is not None and not is_job_id(cursor):
        raise InvalidRequest("cursor is the next_cursor of the page before.")
    async with tracker.database.read() as connection:
        found = await jobs.jobs_of_account(
            connection, account.id, status=status, task=task, before_id=cursor, limit=limit + 1
        )
        page = found[:limit]
        failures = await attempts.failures_of_all(connection, [job.id for job in page if job.attempt])
    next_cursor = page[-1].id if len(found) > limit else None
    views = tuple(view_of(job, failures=failures.get(job.id, ())) for job in page)
    return reply(JobsPage(jobs=views, next_cursor=next_cursor))


async def get_job_events(request: web.Request) -> web.StreamResponse:
    """GET /api/v1/jobs/{job}/events: what happens to a job, as server-sent events, until it has ended.

    The first event is always how the job is now: ``queued`` (position, estimated_wait, note), ``running`` (attempt,
    served_by) or ``done`` (status, error), which is the last one. Between them ``tokens`` (text) and ``progress``
    (step, total). A reader that is too slow misses some of these, or is cut. If the key ends meanwhile, the last event
    is ``error``: a problem, as for a request with that key.
    """
    tracker, account = request.app[TRACKER], await account_of(request)
    job = await _find_state(tracker, account, request.match_info["job"])
    stream = EventStream(request)
    if request.method == hdrs.METH_HEAD:  # no events: aiohttp would send them all the same
        await stream.open()
        return stream.response
    with (
        request[CALL].visit.waiting(),
        tracker.key_watch.watching(key_of(request), request[CALL].address) as why_not,
    ):
        is_gone = _leaving(request, lambda: why_not() is not None)
        async with aclosing(follow(tracker, job.id, is_gone=is_gone)) as events:
            await stream.open()
            async for event in events:
                sent = await (stream.comment() if event is None else stream.send(event.name, event.data))
                if not sent or (event is not None and event.is_last):
                    return stream.response
        refusal = why_not()
        if refusal is not None:
            await stream.send(JobEventName.ERROR, problem_told(refusal).model_dump(mode="json"))
    return stream.response


async def _has_ended(request: web.Request, job: StoredJob, is_refused: Callable[[], bool]) -> bool:
    """Wait for a job's end, as long as the settings say and the client is there and allowed; return whether it came."""
    tracker = request.app[TRACKER]
    try:
        with request[CALL].visit.waiting():
            async with (
                asyncio.timeout(tracker.settings.sync_timeout_s),
                aclosing(follow(tracker, job.id, is_gone=_leaving(request, is_refused))) as events,
            ):
                async for event in events:
                    if event is not None and event.is_last:
                        return True
    except TimeoutError:
        pass
    return False


async def _file(request: web.Request) -> FiledJob:
    """Read, check and keep a submission; its body is no longer in memory afterwards."""
    tracker, account = request.app[TRACKER], await account_of(request)
    key = _idempotency_key(request)
    limits = request.app[GUARD].limits
    submission = await read_body(
        request, JobSubmission, max_bytes=limits.job_body_bytes, timeout_s=BODY_TIMEOUT_S, slow_line=True
    )
    place = tracker.geoip.find(request[CALL].address)
    region = place.region if isinstance(place, Place) else None
    sender = Sender(account, key_of(request).id, request[CALL].address, region)
    filed = await tracker.desk.file(sender, submission, key)
    free_body(request)
    return filed


def _idempotency_key(request: web.Request) -> str | None:
    keys = request.headers.getall(IDEMPOTENCY_KEY_HEADER, [])
    if len(keys) > 1:  # which one counts, proxies and clients would not agree on
        raise MalformedMessage(f"{IDEMPOTENCY_KEY_HEADER} came {len(keys)} times; send it once.")
    if keys and not _IDEMPOTENCY_KEY.fullmatch(keys[0]):
        raise InvalidRequest(
            f"{IDEMPOTENCY_KEY_HEADER} has 1 to {MAX_KEY_CHARS} printable ASCII characters, without spaces."
        )
    return keys[0] if keys else None


async def _find_state(tracker: Tracker, account: Account, job_id: str) -> StoredJob:
    """Return a job without its result, likewise."""
    if is_job_id(job_id):
        async with tracker.database.read() as connection:
            job = await jobs.find_job_state(connection, job_id, account_id=account.id)
        if job is not None:
            return job
    raise _no_job()


def _no_job() -> NotFound:
    return NotFound("There is no such job of yours. Jobs are deleted some days after their end.")


async def _shown(request: web.Request, account_id: str, job_id: str) -> web.StreamResponse:
    """Return a job with its result.

    Raises:
        NotFound: there is none, or it is another account's. TooManyRequests, Overloaded: no memory for a large result.
    """
    tracker, freely = request.app[TRACKER], request.app[GUARD].limits.body_bytes
    async with tracker.database.read() as connection:
        job = await jobs.find_job_state(connection, job_id, account_id=account_id) if is_job_id(job_id) else None
        if job is None:
            raise _no_job()
        size = await result_bytes(connection, job.id) if job.status is JobStatus.COMPLETED else 0
        if size > freely:
            hold_body(request, size - freely)
        if size:
            job = replace(job, result=await find_result(connection, job.id))
    if size <= freely:
        return reply(await whole_view(tracker, job))
    return await send_json(request, await _large_json(tracker, job))


async def _large_json(tracker: Tracker, job: StoredJob) -> bytes:
    view = await whole_view(tracker, job)
    return await asyncio.to_thread(to_json, view)


def _leaving(request: web.Request, is_refused: Callable[[], bool]) -> Callable[[], bool]:
    """Return whether the client has gone, or must, or the tracker stops."""
    stopping = request.app[STOPPING]
    return lambda: stopping.is_set() or request.transport is None or request.transport.is_closing() or is_refused()


def _path_of(job: StoredJob) -> str:
    return JOB_PATH.format(job=job.id)


def _not_yet(job: StoredJob, timeout_s: float) -> web.Response:
    body = JobProblem(
        title="Gateway Timeout",
        status=504,
        detail=f"The job has not ended within {timeout_s:g} s. It goes on: ask GET {_path_of(job)} for its result, or "
        "DELETE it.",
        code="not_ended",
        job_id=job.id,
    )
    response = problem_reply(body)
    response.headers["Location"] = _path_of(job)
    return response

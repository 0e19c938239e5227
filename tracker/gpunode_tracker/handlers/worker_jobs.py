"""The jobs of pull workers: the next one, what comes out meanwhile, the end."""

from typing import Final

from aiohttp import web
from gpunode_protocol import jobs_api as api

from gpunode_tracker.app_keys import CALL, GUARD, TRACKER
from gpunode_tracker.bodies import read_body, read_number, reply, to_json
from gpunode_tracker.errors import Rejected
from gpunode_tracker.handlers.large_reply import send_json
from gpunode_tracker.quotas import hold_body
from gpunode_tracker.worker_auth import is_shut_out, refuse_shut_out, worker_of
from gpunode_tracker.workers.handing_over import HandingOver

EVENT_BODY_BYTES: Final = 640 * 1024
"""A piece of an answer, each of its characters written as ``\\uXXXX`` at worst."""


async def get_next_job(request: web.Request) -> web.StreamResponse:
    """GET /api/v1/workers/{worker}/next-job?wait=: a job, waited for up to 30 s, or the counted reasons why not."""
    worker = await worker_of(request)
    wait_s = read_number(request, "wait", 0, highest=api.LONG_POLL_MAX_S)
    taking = request.app[TRACKER].workers.taking
    left = worker.polls_left

    def is_gone() -> bool:
        is_cut = request.transport is None or request.transport.is_closing()
        return is_cut or worker.polls_left != left or is_shut_out(request, worker)

    with request[CALL].visit.waiting():
        found = await request.app[TRACKER].workers.next_job(worker, wait_s, is_gone)
    if found.job_id is None or is_gone():
        await taking.undo(worker, found)  # nobody was told of the job
        refuse_shut_out(request, worker)
        return reply(api.NextJob(reasons=found.reasons), no_store=True)
    body = to_json(found)
    freely = request.app[GUARD].limits.body_bytes
    if len(body) > freely:
        try:
            hold_body(request, len(body) - freely)
        except Rejected:
            await taking.undo(worker, found)
            raise
    return await send_json(
        request,
        body,
        no_store=True,
        on_taken=HandingOver(request.app[TRACKER], worker, found).piece_taken,
        on_cut=lambda: taking.put_back(worker, found),  # what was sent in part may be known to the worker: a try
    )


async def post_job_event(request: web.Request) -> web.Response:
    """POST /api/v1/jobs/{job}/events: text or progress for whoever follows the job; the worker has it for longer."""
    worker = await worker_of(request)
    body = await read_body(request, api.WorkerEvent, max_bytes=EVENT_BODY_BYTES)
    await request.app[TRACKER].workers.completing.event(worker, request.match_info["job"], body)
    return web.Response(status=204)


async def post_job_complete(request: web.Request) -> web.Response:
    """POST /api/v1/jobs/{job}/complete: the result, or why there is none; the same once more changes nothing."""
    worker = await worker_of(request)
    limits = request.app[GUARD].limits
    body = await read_body(request, api.JobCompletion, max_bytes=limits.completion_body_bytes, slow_line=True)
    tracker = request.app[TRACKER]
    answer = await tracker.workers.completing.complete(worker, request.match_info["job"], body)
    tracker.metrics.worker_jobs.labels("completed" if body.success else "failed").inc()
    return reply(answer)

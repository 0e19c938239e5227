"""Pull workers: registration, heartbeats, the list, maintenance, tokens."""

import re

from aiohttp import web
from gpunode_protocol import jobs_api as api
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode_tracker.app_keys import CALL, TRACKER
from gpunode_tracker.auth import WORKER_TOKEN_HEADER, key_holder_of
from gpunode_tracker.bodies import read_body, reply, reply_bytes, to_json
from gpunode_tracker.errors import InvalidRequest, NotFound
from gpunode_tracker.geoip import Place
from gpunode_tracker.queries import read_choice, read_limit
from gpunode_tracker.storage import workers
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.worker_auth import worker_of
from gpunode_tracker.workers.presence import Presence
from gpunode_tracker.workers.unheld import give_to_others
from gpunode_tracker.workers.worker import WORKER_ID_PATTERN, StoredWorker, WorkerStatus

_WORKER_ID = re.compile(WORKER_ID_PATTERN)


async def post_worker_register(request: web.Request) -> web.Response:
    """POST /api/v1/workers/register: an id and a token; who shows a key besides is paid."""
    tracker = request.app[TRACKER]
    body = await read_body(request, api.WorkerRegistration)
    found = tracker.geoip.find(request[CALL].address)
    registered = await tracker.workers.register(
        body, found if isinstance(found, Place) else None, address=request[CALL].address
    )
    worker = registered.worker
    answer = api.WorkerCredentials(worker_id=worker.id, token=registered.token, region=Region(worker.region))
    return reply(answer, status=201, no_store=True)


async def post_worker_heartbeat(request: web.Request) -> web.Response:
    """POST /api/v1/workers/{worker}/heartbeat: keeps a worker listed, and its jobs its own."""
    tracker = request.app[TRACKER]
    worker = await worker_of(request)
    body = await read_body(request, api.WorkerHeartbeat)
    tracker.workers.presence.beat(worker, body)
    tracker.metrics.worker_heartbeats.inc()
    holding = body.holding if "holding" in body.model_fields_set else None
    lost = await tracker.workers.completing.renew(worker, holding)
    if body.polling is False and holding is not None:
        await give_to_others(tracker, worker, holding)
    return reply(api.WorkerHeartbeatReply(lost=lost, maintenance=worker.stored.maintenance, time=tracker.now))


async def get_workers(request: web.Request) -> web.Response:
    """GET /api/v1/workers?region=&type=&status=&limit=&cursor=: workers by id, those that are off too."""
    tracker = request.app[TRACKER]
    await _reader_of(request)
    status = read_choice(request, "status", WorkerStatus)
    limit = read_limit(request, api.MAX_PAGE)
    async with tracker.database.read() as connection:
        page = await workers.workers_page(
            connection,
            region=read_choice(request, "region", Region),
            status=status,
            task=read_choice(request, "type", Task),
            after_id=_cursor(request),
            limit=limit,
        )
    presence = tracker.workers.presence
    views = [_view(worker, presence) for worker in page]
    # the database's word of who lives is some seconds old
    shown = tuple(view for view in views if status is None or view.status == status)
    return reply(api.WorkersPage(workers=shown, next_cursor=page[-1].id if len(page) == limit else None))


async def get_worker(request: web.Request) -> web.Response:
    """GET /api/v1/workers/{worker}: one worker, for its own token or any API key."""
    tracker = request.app[TRACKER]
    await _reader_of(request)
    presence, worker_id = tracker.workers.presence, request.match_info["worker"]
    live = presence.find(worker_id)
    if live is None:
        return reply(_view(await _worker_named(tracker, worker_id), presence))
    stored = live.stored
    state = stored, live.status_at(presence.monotonic()), live.heard_at
    answers = tracker.answers
    known = answers.find_worker(worker_id, state)
    return reply_bytes(known or answers.keep_worker(worker_id, state, to_json(_view(stored, presence))))


async def post_worker_maintenance(request: web.Request) -> web.Response:
    """POST /api/v1/workers/{worker}/maintenance: no more jobs, or jobs again; what it holds, it ends."""
    tracker = request.app[TRACKER]
    worker = await worker_of(request)
    body = await read_body(request, api.MaintenanceRequest)
    await tracker.workers.set_maintenance(worker, enabled=body.enabled, address=request[CALL].address)
    return reply(_view(worker.stored, tracker.workers.presence))


async def post_worker_token(request: web.Request) -> web.Response:
    """POST /api/v1/workers/{worker}/token: a new token; the one before works 60 s more."""
    worker = await worker_of(request)
    shown = request.headers[WORKER_TOKEN_HEADER]
    token = await request.app[TRACKER].workers.rotate(worker, shown, address=request[CALL].address)
    answer = api.WorkerCredentials(worker_id=worker.id, token=token, region=Region(worker.stored.region))
    return reply(answer, no_store=True)


async def delete_worker(request: web.Request) -> web.Response:
    """DELETE /api/v1/workers/{worker}: the worker leaves; its token ends, what it earned stays."""
    worker = await worker_of(request)
    await request.app[TRACKER].workers.deregister(worker, address=request[CALL].address)
    return web.Response(status=204)


async def _reader_of(request: web.Request) -> None:
    """Let any account and any worker read: there is nothing here that would find a worker's owner or address."""
    if WORKER_TOKEN_HEADER not in request.headers:
        await key_holder_of(request)
        return
    worker = await worker_of(request)
    if request.match_info.get("worker", worker.id) != worker.id:
        raise NotFound("There is no such worker.")


def _cursor(request: web.Request) -> str | None:
    cursor = request.query.get("cursor")
    if cursor is not None and _WORKER_ID.fullmatch(cursor) is None:
        raise InvalidRequest("cursor is the next_cursor of the page before.")
    return cursor


async def _worker_named(tracker: Tracker, worker_id: str) -> StoredWorker:
    if _WORKER_ID.fullmatch(worker_id):
        async with tracker.database.read() as connection:
            worker = await workers.find_worker(connection, worker_id)
        if worker is not None and worker.deregistered_at is None:
            return worker
    raise NotFound("There is no such worker here.")


def _view(worker: StoredWorker, presence: Presence) -> api.WorkerView:
    live = presence.find(worker.id)
    known = worker if live is None else live.stored
    heard_at = worker.last_heartbeat if live is None else presence.heard_at_unix(live)
    statistics = known.statistics
    return api.WorkerView(
        worker_id=known.id,
        name=known.name,
        status=presence.status_of(known.id).value,
        region=Region(known.region),
        country=known.country,
        city=known.city,
        latitude=known.latitude,
        longitude=known.longitude,
        gpu_model=known.gpu_model,
        gpu_memory_gb=known.gpu_memory_gb,
        supported_types=tuple(Task(each) for each in known.supported_types),
        models=tuple(known.models),
        avg_latency_ms=statistics.avg_latency_ms,
        success_rate=statistics.success_rate,
        total_jobs=statistics.total_jobs,
        maintenance=known.maintenance,
        last_heartbeat=heard_at,
        registered_at=known.registered_at,
    )

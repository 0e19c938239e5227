"""Which pull worker asks, by its token."""

from aiohttp import web

from gpunode_tracker.app_keys import CALL, TRACKER
from gpunode_tracker.auth import WORKER_TOKEN_HEADER
from gpunode_tracker.bans import BanKind
from gpunode_tracker.errors import Forbidden, Unauthenticated
from gpunode_tracker.quotas import charge_identity, note_wrong_key, refuse_guessers
from gpunode_tracker.workers.presence import LiveWorker


async def worker_of(request: web.Request) -> LiveWorker:
    """Return the worker whose token the request carries, and count the request on it.

    If the path names a worker, it must be that one. That it asks is a sign of its life.

    Raises:
        Unauthenticated: no such token. Forbidden: another worker's, or it was shut out.
        TooManyRequests: the worker, or a guesser's address, asks too often.
    """
    token = request.headers.get(WORKER_TOKEN_HEADER, "")
    if not token:
        raise Unauthenticated("A worker token is needed: send the header 'X-Worker-Token: gpw_…'.")
    await refuse_guessers(request)
    tracker = request.app[TRACKER]
    pool = tracker.workers
    worker = await pool.find(token)
    if worker is None:
        await note_wrong_key(request)
        raise Unauthenticated("This worker token is not valid (any more). Register the worker again.")
    await charge_identity(request, f"worker:{worker.id}")
    refuse_shut_out(request, worker)
    if request.match_info.get("worker", worker.id) != worker.id:
        raise Forbidden("This worker token belongs to another worker.")
    pool.presence.hear(worker)
    return worker


def refuse_shut_out(request: web.Request, worker: LiveWorker) -> None:
    """Refuse a worker that is not, or no more, to be served.

    Raises:
        Forbidden: it, its key or its address was shut out, by what is known now. Unauthenticated: it has left.
    """
    tracker = request.app[TRACKER]
    bans = tracker.bans
    bans.refuse(BanKind.WORKER, worker.id)  # known at once here; ``worker.ban`` is what was read last
    bans.refuse(BanKind.ADDRESS, request[CALL].address)
    if worker.stored.peer is not None:
        bans.refuse(BanKind.NODE, worker.stored.peer)
    if worker.ban is not None:
        raise Forbidden(f"This worker was shut out by the tracker's operator ({worker.ban}). Ask the operator.")
    if tracker.workers.presence.find(worker.id) is not worker:
        raise Unauthenticated("This worker has left. Register the worker again.")


def is_shut_out(request: web.Request, worker: LiveWorker) -> bool:
    """Return whether ``refuse_shut_out`` would refuse."""
    try:
        refuse_shut_out(request, worker)
    except (Forbidden, Unauthenticated):
        return True
    return False

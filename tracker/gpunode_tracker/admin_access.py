"""Administration by REST: who may, and what is noted of those who may not."""

import logging

from aiohttp import web

from gpunode_tracker.administration import Administration
from gpunode_tracker.app_keys import CALL, TRACKER
from gpunode_tracker.audit import Action, Actor
from gpunode_tracker.auth import WORKER_TOKEN_HEADER, key_holder_of
from gpunode_tracker.errors import Forbidden, StorageUnavailable, Unauthenticated
from gpunode_tracker.quotas import note_wrong_key
from gpunode_tracker.scopes import Scope
from gpunode_tracker.storage import audit

logger = logging.getLogger(__name__)


async def admin_of(request: web.Request) -> Administration:
    """Return what the operator may do, acting for the request's API key, which needs the scope ``admin``.

    Who shows another key or token is noted in the audit log, and counts as one who tries keys.

    Raises:
        Unauthenticated, MissingScope, Banned, TooManyRequests: as for ``auth.account_of``.
    """
    try:
        holder = await key_holder_of(request, Scope.ADMIN)
    except (Unauthenticated, Forbidden) as error:
        if "Authorization" in request.headers or WORKER_TOKEN_HEADER in request.headers:
            await _note_refusal(request, error)
        raise
    tracker = request.app[TRACKER]
    actor = Actor(f"key:{holder.key.id}", request[CALL].address)
    return Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock, actor)


async def _note_refusal(request: web.Request, error: Exception) -> None:
    key, tracker = request[CALL].key, request.app[TRACKER]
    actor = "unknown" if key is None else f"key:{key.id}"
    resource = request.match_info.route.resource
    subject = f"{request.method} {resource.canonical if resource is not None else ''}"
    if key is not None:  # an unknown one was counted already
        await note_wrong_key(request)
    try:
        async with tracker.database.write() as connection:
            await audit.record(
                connection,
                actor,
                Action.ADMIN_REFUSED,
                subject,
                {"reason": type(error).__name__},
                request[CALL].address,
                at=tracker.now,
            )
    except StorageUnavailable as failure:
        logger.warning(
            "A refusal of administration could not be noted: %s",
            failure,
            extra={"event": "audit_failed", "actor": actor, "address": request[CALL].address},
        )

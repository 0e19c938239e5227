"""Around every request: an id, counters, limits, and errors as problems."""

import logging
import re
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from gpunode_protocol.secret_texts import without_secrets

from gpunode_tracker.app_keys import CLIENT, GUARD, NO_ROUTE, PATH, REQUEST_ID, TRACKER, VISIT
from gpunode_tracker.bans import BanKind
from gpunode_tracker.client_addresses import holder_of
from gpunode_tracker.errors import Banned, Rejected
from gpunode_tracker.problems import problem, problem_of, problem_of_http
from gpunode_tracker.quotas import charge_address, note_client, quota_headers
from gpunode_tracker.request_ids import REQUEST_ID_HEADER, RequestIds

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REQUEST_IDS = RequestIds()
_ADDRESS: Final = BanKind.ADDRESS  # an enumeration's members are looked up by Python code, and this with every request


@web.middleware
async def with_marks(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, and send it back with how much more may be asked for; count the answer.

    The id is the caller's if it brings a sound one, which is no key or token. The answer is counted under its route,
    never under a path that a caller made up.
    """
    given = request.headers.get(REQUEST_ID_HEADER)
    is_sound = given is not None and _REQUEST_ID.fullmatch(given) and without_secrets(given) == given
    name = request[REQUEST_ID] = given if given is not None and is_sound else _REQUEST_IDS.next()
    path, app = _route(request), request.app
    request[PATH] = path
    charges = note_client(request, app[GUARD])
    response = await handler(request)
    headers = response.headers
    headers[REQUEST_ID_HEADER] = name
    if charges:
        headers.update(quota_headers(charges))
    app[TRACKER].metrics.count_request(path, response.status)
    return response


@web.middleware
async def with_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into problem bodies; unforeseen ones are logged and stay opaque."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return problem_of_http(error)
    except Exception as error:
        known = problem_of(error)
        if known is not None:
            return known
        request_id = request[REQUEST_ID]
        logger.exception(
            "Unexpected failure in %s %s",
            request.method,
            request[PATH],
            extra={"event": "request_failed", "request_id": request_id},
        )
        return problem(500, f"Something failed in the tracker. Its log says more under {request_id}.", "internal")


@web.middleware
async def with_guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn away who is shut out or asks for too much, and count what was turned away."""
    app, address = request.app, request[CLIENT]
    tracker, holder = app[TRACKER], holder_of(address)
    try:
        tracker.bans.refuse(_ADDRESS, address)  # first, because it costs the least
        guard = app[GUARD]
        with guard.in_flight.visit(holder) as visit:
            request[VISIT] = visit
            await charge_address(request, guard, holder)
            return await handler(request)
    except (Rejected, Banned, web.HTTPRequestEntityTooLarge, web.HTTPRequestTimeout) as error:
        tracker.metrics.rejected.labels(_reason(error)).inc()
        raise


def _reason(error: Exception) -> str:
    match error:
        case Rejected():
            return error.reason
        case Banned():
            return "banned"
        case web.HTTPRequestEntityTooLarge():
            return "body_size"
        case _:
            return "slow_body"


MIDDLEWARES = (with_marks, with_problems, with_guard)
"""Outermost first. Few, because each costs every request some microseconds."""


def _route(request: web.Request) -> str:
    """Return the route's path with its variables in braces: what stands in their place may be anything, secrets too."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else NO_ROUTE

"""Around every request: an id, counters, and errors as problems."""

import logging
import re
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from gpunode_protocol.secret_texts import without_secrets

from gpunode_tracker.app_keys import CLIENT, GUARD, REQUEST_ID, TRACKER, VISIT
from gpunode_tracker.bans import BanKind
from gpunode_tracker.client_addresses import holder_of
from gpunode_tracker.errors import Banned, Rejected
from gpunode_tracker.problems import problem, problem_of, problem_of_http
from gpunode_tracker.quotas import charge_address, note_client, quota_headers
from gpunode_tracker.request_ids import REQUEST_ID_HEADER, RequestIds

logger = logging.getLogger(__name__)

NO_ROUTE = "other"
"""Under this are requests counted that no route is for."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REQUEST_IDS = RequestIds()
_ADDRESS: Final = BanKind.ADDRESS  # an enumeration's members are looked up by Python code, and this with every request


@web.middleware
async def with_request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, the caller's if it brings a sound one, which is no key or token, and send it back."""
    given = request.headers.get(REQUEST_ID_HEADER)
    is_sound = given is not None and _REQUEST_ID.fullmatch(given) and without_secrets(given) == given
    name = request[REQUEST_ID] = given if given is not None and is_sound else _REQUEST_IDS.next()
    response = await handler(request)
    response.headers[REQUEST_ID_HEADER] = name
    return response


@web.middleware
async def with_metrics(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the request under its route, never under a path that a caller made up."""
    response = await handler(request)
    request.app[TRACKER].metrics.count_request(_route(request), response.status)
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
            _route(request),
            extra={"event": "request_failed", "request_id": request_id},
        )
        return problem(500, f"Something failed in the tracker. Its log says more under {request_id}.", "internal")


@web.middleware
async def with_quota(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say in the answer how much more may be asked for."""
    charges = note_client(request)
    response = await handler(request)
    if charges:
        response.headers.update(quota_headers(charges))
    return response


@web.middleware
async def with_guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn away who is shut out or asks for too much, and count what was turned away."""
    app, address = request.app, request[CLIENT]
    tracker, holder = app[TRACKER], holder_of(address)
    rejected = tracker.metrics.rejected
    try:
        tracker.bans.refuse(_ADDRESS, address)  # first, because it costs the least
        with app[GUARD].in_flight.visit(holder) as visit:
            request[VISIT] = visit
            await charge_address(request, holder)
            return await handler(request)
    except Rejected as error:
        rejected.labels(error.reason).inc()
        raise
    except Banned:
        rejected.labels("banned").inc()
        raise
    except web.HTTPRequestEntityTooLarge:
        rejected.labels("body_size").inc()
        raise
    except web.HTTPRequestTimeout:
        rejected.labels("slow_body").inc()
        raise


MIDDLEWARES = (with_request_id, with_metrics, with_quota, with_problems, with_guard)
"""Outermost first."""


def _route(request: web.Request) -> str:
    """Return the route's path with its variables in braces: what stands in their place may be anything, secrets too."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else NO_ROUTE

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
async def with_guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn away who is shut out or asks for too much, and answer errors with problem bodies.

    Raises:
        ConnectionError: it failed in the middle of its answer, so that the connection has to end.
    """
    app, address = request.app, request[CLIENT]
    try:
        app[TRACKER].bans.refuse(_ADDRESS, address)  # first, because it costs the least
        guard, holder = app[GUARD], holder_of(address)
        with guard.in_flight.visit(holder) as visit:
            request[VISIT] = visit
            await charge_address(request, guard, holder)
            return await handler(request)
    except Exception as error:  # the boundary of a request; what is unforeseen is logged below
        reason = _refused_for(error)
        if reason is not None:
            app[TRACKER].metrics.rejected.labels(reason).inc()
        answer = _answer_to(request, error)
        if request.writer.output_size > 0:  # what comes now would be read as more of the answer that has begun
            app[TRACKER].metrics.count_request(request[PATH], answer.status)
            raise ConnectionResetError("the answer has begun") from error
        return answer


MIDDLEWARES = (with_marks, with_guard)
"""Outermost first. Few, because each costs every request a microsecond."""


def _refused_for(error: Exception) -> str | None:
    """Return under which limit a request was turned away, None if it was not."""
    match error:
        case Rejected():
            return error.reason
        case Banned():
            return "banned"
        case web.HTTPRequestEntityTooLarge():
            return "body_size"
        case web.HTTPRequestTimeout():
            return "slow_body"
        case _:
            return None


def _answer_to(request: web.Request, error: Exception) -> web.Response:
    """Return the problem of an error; an unforeseen one is logged and stays opaque."""
    known = problem_of_http(error) if isinstance(error, web.HTTPException) else problem_of(error)
    if known is not None:
        return known
    request_id = request[REQUEST_ID]
    logger.error(
        "Unexpected failure in %s %s",
        request.method,
        request[PATH],
        exc_info=error,
        extra={"event": "request_failed", "request_id": request_id},
    )
    return problem(500, f"Something failed in the tracker. Its log says more under {request_id}.", "internal")


def _route(request: web.Request) -> str:
    """Return the route's path with its variables in braces: what stands in their place may be anything, secrets too."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else NO_ROUTE

"""Around every request: an id, counters, and errors as problems."""

import logging
import re
import secrets

from aiohttp import web
from aiohttp.typedefs import Handler

from gpunode_tracker.app_keys import REQUEST_ID, TRACKER
from gpunode_tracker.problems import problem, problem_of, problem_of_http

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@web.middleware
async def with_request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, the caller's if it brings a sound one, and send it back."""
    given = request.headers.get(REQUEST_ID_HEADER, "")
    request[REQUEST_ID] = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    response = await handler(request)
    response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    return response


@web.middleware
async def with_metrics(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the request under its route, never under a path that a caller made up."""
    response = await handler(request)
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else "other"
    request.app[TRACKER].metrics.requests.labels(path, str(response.status)).inc()
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
            request.path,
            extra={"event": "request_failed", "request_id": request_id},
        )
        return problem(500, f"Something failed in the tracker. Its log says more under {request_id}.", "internal")


MIDDLEWARES = (with_request_id, with_metrics, with_problems)
"""Outermost first."""

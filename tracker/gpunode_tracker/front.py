"""Around every request: an id, counters, limits, and errors as problems."""

import logging
import re
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from gpunode_protocol.secret_texts import without_secrets

from gpunode_tracker.app_keys import CALL
from gpunode_tracker.bans import BanKind
from gpunode_tracker.client_addresses import FORWARDED_HEADER, holder_of
from gpunode_tracker.errors import Banned, Rejected
from gpunode_tracker.limits import Budget
from gpunode_tracker.problems import problem, problem_of, problem_of_http
from gpunode_tracker.quotas import charge_address
from gpunode_tracker.request_guard import Call, RequestGuard
from gpunode_tracker.request_ids import REQUEST_ID_HEADER, RequestIds
from gpunode_tracker.tracker import Tracker

logger = logging.getLogger(__name__)

CLIENT_LEFT: Final = 499
"""For the counter, as nginx has it: nobody is there to get an answer."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REQUEST_IDS = RequestIds()
_ADDRESS: Final = BanKind.ADDRESS  # an enumeration's members are looked up by Python code, and this with every request


class Front:
    """Stands before every handler. It is no middleware of aiohttp's, whose own part in those costs a microsecond.

    Args:
        tracker: whose bans and counters count.
        guard: whose limits.
    """

    def __init__(self, tracker: Tracker, guard: RequestGuard) -> None:
        self._bans = tracker.bans
        self._metrics = tracker.metrics
        self._guard = guard

    def around(self, path: str, handler: Handler, budget: Budget | None = None) -> Handler:
        """Return a handler with all of this around it.

        Whoever is shut out or asks for too much is turned away. Errors are answered with problem bodies, and what was
        not foreseen is logged. The answer is counted under its route, never under a path that a caller made up.

        Args:
            path: the route's, with variables in braces: what stands in their place may be anything, secrets too.
            handler: the route's.
            budget: on which addresses are counted beside ``Budget.ADDRESS``.

        Raises:
            ConnectionError: by the handler: it failed in the middle of its answer, so that the connection has to end.
        """
        guard, count_request, refuse_banned = self._guard, self._metrics.count_request, self._bans.refuse

        async def answer(request: web.Request) -> web.StreamResponse:
            call = request[CALL] = _call(request, path, guard)
            try:
                refuse_banned(_ADDRESS, call.address)  # first, because it costs the least
                with call.visit:
                    await charge_address(call, budget)
                    response = await handler(request)
            except Exception as error:  # the boundary of a request; what is unforeseen is logged below
                response = self._answer_to(error, request, call)
                if _is_left_unread(error, request):  # aiohttp ends the connection then, and does not say so
                    response.force_close()
                if request.writer.output_size > 0:  # what comes now would be read as more of the answer that has begun
                    count_request(path, response.status)
                    raise ConnectionResetError("the answer has begun") from error
            count_request(path, response.status)
            return response

        return answer

    def _answer_to(self, error: Exception, request: web.Request, call: Call) -> web.Response:
        """Return the problem of an error; an unforeseen one is logged and stays opaque."""
        if isinstance(error, ConnectionError) and _has_left(request):
            return web.Response(status=CLIENT_LEFT)
        reason = _refused_for(error)
        if reason is not None:
            self._metrics.rejected.labels(reason).inc()
        known = problem_of_http(error) if isinstance(error, web.HTTPException) else problem_of(error)
        if known is not None:
            return known
        logger.error(
            "Unexpected failure in %s %s",
            request.method,
            call.path,
            exc_info=error,
            extra={"event": "request_failed", "request_id": call.id},
        )
        return problem(500, f"Something failed in the tracker. Its log says more under {call.id}.", "internal")


def _call(request: web.Request, path: str, guard: RequestGuard) -> Call:
    """Return what is known of a request so far. Its id is the caller's if it brings a sound one, no key or token."""
    headers = request.headers
    given = headers.get(REQUEST_ID_HEADER)
    is_sound = given is not None and _REQUEST_ID.fullmatch(given) and without_secrets(given) == given
    name = given if given is not None and is_sound else _REQUEST_IDS.next()
    address = guard.address_of(request.remote, headers.getall(FORWARDED_HEADER, ()))
    holder = holder_of(address)
    return Call(name, path, address, holder, guard, guard.in_flight.visit(holder), [])


def _has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _is_left_unread(error: Exception, request: web.Request) -> bool:
    """Whether the rest of a body cannot be read, or is not waited for."""
    is_refused = isinstance(error, web.HTTPRequestEntityTooLarge | web.HTTPRequestTimeout)
    return is_refused or request.content.exception() is not None


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

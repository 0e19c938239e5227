"""JSON bodies in and out, always through the shared models."""

import asyncio
from typing import Final, TypeVar

from aiohttp import hdrs, web
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.jobs_api import SLOW_LINE_BYTES_PER_S
from gpunode_protocol.signing import WireModel
from gpunode_protocol.validation import first_problem
from multidict import CIMultiDict
from pydantic import ValidationError

from gpunode_tracker.app_keys import GUARD
from gpunode_tracker.errors import InvalidRequest
from gpunode_tracker.quotas import hold_body

M = TypeVar("M", bound=WireModel)

SMALL_BYTES = 256 * 1024
"""A larger body is parsed in a thread: others need not wait for it."""
_JSON: Final = CIMultiDict({hdrs.CONTENT_TYPE: "application/json; charset=utf-8"})
_UNCACHED_JSON: Final = CIMultiDict({**_JSON, hdrs.CACHE_CONTROL: "no-store"})

BODY_TIMEOUT_S = 30.0
"""A body must be there within this time; who sends it by drops must not hold connections."""


async def read_body(
    request: web.Request,
    model: type[M],
    *,
    max_bytes: int | None = None,
    timeout_s: float | None = None,
    slow_line: bool = False,
) -> M:
    """Read the request's JSON body.

    Args:
        request: whose body it is.
        model: what it should be.
        max_bytes: None = as many as the settings allow for most calls.
        timeout_s: within which it must have come; None = ``BODY_TIMEOUT_S``.
        slow_line: whether what has come gives it more time, as much as ``SLOW_LINE_BYTES_PER_S`` need.

    Raises:
        TooManyRequests, Overloaded: there is no memory for a large one now.
        MalformedMessage: not JSON, or cut off. InvalidRequest: a field is missing, of the wrong type or out of range.
        HTTPRequestEntityTooLarge: more bytes than this path takes. HTTPRequestTimeout: it takes too long to come.
    """
    try:
        async with asyncio.timeout(timeout_s or BODY_TIMEOUT_S) as time_left:
            most = max_bytes or request.app[GUARD].limits.body_bytes
            data = await _read(request, most, time_left if slow_line else None)
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error
    except (web.RequestPayloadError, ConnectionError) as error:  # badly encoded, or its sender has left
        raise MalformedMessage("The body cannot be read to its end.") from error
    try:
        if len(data) <= SMALL_BYTES:
            return model.model_validate_json(data)
        return await asyncio.to_thread(model.model_validate_json, data)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise MalformedMessage("The body is not valid JSON.") from error
        raise InvalidRequest(f"{model.__name__}: {first_problem(error)}") from error


async def _read(request: web.Request, max_bytes: int, time_left: asyncio.Timeout | None) -> bytearray:
    data = bytearray()
    held = request.app[GUARD].limits.body_bytes
    too_large = (request.content_length or 0) > max_bytes
    while not too_large and (chunk := await request.content.readany()):
        data += chunk
        too_large = len(data) > max_bytes
        if len(data) > held:
            hold_body(request, len(data) - held)
            held = len(data)
        if time_left is not None and (due_at := time_left.when()) is not None:
            time_left.reschedule(due_at + len(chunk) / SLOW_LINE_BYTES_PER_S)
    if too_large:
        text = f"The body is larger than the {max_bytes:,} bytes that this path takes. Send less at once."
        raise web.HTTPRequestEntityTooLarge(max_size=max_bytes, text=text)
    return data


def reply(body: WireModel, *, status: int = 200, no_store: bool = False) -> web.Response:
    """Return a JSON response; ``no_store``: it is for this caller alone, no cache may keep it."""
    return reply_bytes(to_json(body), status=status, no_store=no_store)


def to_json(body: WireModel) -> bytes:
    """Return a JSON body as it is sent."""
    return body.model_dump_json(exclude_none=True).encode()


def reply_bytes(body: bytes, *, status: int = 200, no_store: bool = False) -> web.Response:
    """Return the response for a JSON body that was written before."""
    headers = _UNCACHED_JSON if no_store else _JSON
    return web.Response(body=body, status=status, headers=headers)


def read_number(request: web.Request, name: str, default: int, *, highest: int, least: int = 0) -> int:
    """Return a whole number of the query, ``least`` to ``highest``; ``default``: it is not there.

    Raises:
        InvalidRequest: anything else.
    """
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 19) or not least <= int(text) <= highest:
        raise InvalidRequest(f"{name} is a whole number from {least} to {highest}.")
    return int(text)

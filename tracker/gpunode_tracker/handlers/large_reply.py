"""Answers of megabytes, which are sent while their request still counts: slow readers must not fill the memory."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web
from gpunode_protocol.jobs_api import SLOW_LINE_BYTES_PER_S

PART_BYTES: Final = 64 * 1024
GRACE_S: Final = 30.0
"""Beyond what ``SLOW_LINE_BYTES_PER_S`` need."""


async def send_json(
    request: web.Request,
    body: bytes,
    *,
    no_store: bool = False,
    on_taken: Callable[[], Awaitable[None]] | None = None,
    on_cut: Callable[[], Awaitable[None]] | None = None,
) -> web.StreamResponse:
    """Send JSON, and return when it is on its way; what the request holds (``quotas.hold_body``) it holds until then.

    Whoever takes nothing for some time is cut off, see ``connections``; likewise who takes less than
    ``SLOW_LINE_BYTES_PER_S``, or a few readers would keep the memory from all others.

    Args:
        request: that it answers.
        body: JSON.
        no_store: it is for this caller alone, no cache may keep it.
        on_taken: called after each part that its reader made room for.
        on_cut: called when its reader left, or was cut off, before all of it was taken.
    """
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/json; charset=utf-8",
            **({"Cache-Control": "no-store"} if no_store else {}),
        }
    )
    response.content_length = len(body)
    if not await _sent(request, response, body, on_taken) and on_cut is not None:
        await on_cut()
    return response


async def _sent(
    request: web.Request, response: web.StreamResponse, body: bytes, on_taken: Callable[[], Awaitable[None]] | None
) -> bool:
    """Send a body; return False if its reader has left, or was cut off."""
    try:
        async with asyncio.timeout(GRACE_S + len(body) / SLOW_LINE_BYTES_PER_S):
            await response.prepare(request)
            if request.method == hdrs.METH_HEAD:  # aiohttp would send a body all the same
                return True
            for start in range(0, len(body), PART_BYTES):
                await response.write(body[start : start + PART_BYTES])
                if on_taken is not None:
                    await on_taken()
            await response.write_eof()
    except ConnectionError:
        return False
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        return False
    return True

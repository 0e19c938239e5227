"""Server-sent events (HTML Living Standard, 9.2): one answer that goes on, to whoever reads it fast enough."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

SLOW_READER_S: Final = 10.0
"""Whoever takes nothing for so long is cut off; until then, what waits in memory is bounded by the socket's buffer."""


class EventStream:
    """One stream.

    Args:
        request: that it answers.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # proxies such as nginx must pass events on at once
            }
        )

    async def open(self) -> None:
        """Send the head."""
        await self.response.prepare(self._request)

    async def send(self, name: str, data: Mapping[str, Any]) -> bool:
        """Send an event; return whether it got away. JSON has no line breaks, so one ``data`` line holds it."""
        return await self._write(f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n")

    async def comment(self) -> bool:
        """Send a line that readers overlook, so that they and proxies see that the connection lives."""
        return await self._write(": nothing new\n\n")

    async def _write(self, text: str) -> bool:
        try:
            async with asyncio.timeout(SLOW_READER_S):
                await self.response.write(text.encode())
        except ConnectionError:
            return False
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            return False
        return True

"""One accepted connection: HTTP in it, and an end to it, whatever its other end does."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web

WRITE_TIMEOUT_S: Final = 30.0
"""Whoever takes none of an answer for this long is cut off: answers wait in memory."""

RETIREMENT_S: Final = 60.0
"""A request that runs when its connection has become too old gets this long."""


class Connection(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, which it makes when the connection (and TLS) stands.

    Args:
        make_http: makes that protocol.
        age_s: seconds after which the connection ends between two requests.
        on_end: called once, when the connection has ended.
        write_timeout_s: see ``WRITE_TIMEOUT_S``.
    """

    def __init__(
        self,
        make_http: Callable[[], web.RequestHandler],
        *,
        age_s: float,
        on_end: Callable[[], None],
        write_timeout_s: float = WRITE_TIMEOUT_S,
    ) -> None:
        self._make_http = make_http
        self._age_s = age_s
        self._on_end = on_end
        self._write_timeout_s = write_timeout_s
        self._http: web.RequestHandler | None = None
        self._transport: asyncio.Transport | None = None
        self._old: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._retiring: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to speak HTTP."""
        self._transport = cast(asyncio.Transport, transport)
        self._http = self._make_http()
        self._old = asyncio.get_running_loop().call_later(self._age_s, self._retire, self._http)
        self._http.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self._http is not None:
            self._http.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on; the connection is closed."""
        if self._http is not None:
            self._http.eof_received()
        return None

    def pause_writing(self) -> None:
        """The other end does not read; it has some time to go on."""
        if self._http is not None and self._transport is not None:
            self._stalled = asyncio.get_running_loop().call_later(self._write_timeout_s, self._transport.abort)
            self._http.pause_writing()

    def resume_writing(self) -> None:
        """The other end reads again."""
        self._disarm(self._stalled)
        if self._http is not None:
            self._http.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Pass it on, and stop watching."""
        self._disarm(self._stalled)
        self._disarm(self._old)
        if self._http is not None:
            self._http.connection_lost(error)
            self._http = None
        self._on_end()

    def _retire(self, http: web.RequestHandler) -> None:
        http.close()
        self._retiring = asyncio.create_task(http.shutdown(RETIREMENT_S))

    @staticmethod
    def _disarm(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()

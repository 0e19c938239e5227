"""Accepts connections itself, so that an address with too many is refused before TLS and HTTP cost anything."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Callable
from functools import cache
from typing import Final

from aiohttp import web

from gpunode_tracker.connection_book import ConnectionBook
from gpunode_tracker.connections import Connection
from gpunode_tracker.errors import InvalidSettings
from gpunode_tracker.problems import CONTENT_TYPE, problem
from gpunode_tracker.request_ids import REQUEST_ID_HEADER, RequestIds

logger = logging.getLogger(__name__)

BACKLOG: Final = 1_024
HANDSHAKE_TIMEOUT_S: Final = 10.0
"""For TLS; who begins none holds a connection no longer."""
ACCEPT_PAUSE_S: Final = 0.1
"""After the system refused to accept, for want of open files say."""
RETRY_AFTER_S: Final = 30
"""Idle connections end after this, so there may be room again."""
_SMALL_REQUEST_BYTES: Final = 4_096
_IDS: Final = RequestIds()


class Listener:
    """Listens on one or more addresses.

    Args:
        make_http: makes the protocol of a connection.
        book: which connections are taken.
        age_s: seconds after which a connection ends between two requests.
        tls: None = plain http.
        on_refused: called for every connection that is refused.
    """

    def __init__(
        self,
        make_http: Callable[[], web.RequestHandler],
        book: ConnectionBook,
        *,
        age_s: float,
        tls: ssl.SSLContext | None,
        on_refused: Callable[[], None],
    ) -> None:
        self._make_http = make_http
        self._book = book
        self._age_s = age_s
        self._tls = tls
        self._on_refused = on_refused
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._beginning: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which the system chooses if it is 0.

        Raises:
            InvalidSettings: the address is no address of this machine, or is taken.
        """
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
                # further addresses of a name get the port that the system chose for the first
                self._listen(family, (address[0], port or self._port, *address[2:]))
        except OSError as error:
            await self.stop()
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise InvalidSettings(
                f"The tracker cannot listen on {host}:{port} ({reason}). Another program may use the port; stop it, "
                "or choose another with --listen HOST:PORT."
            ) from error
        self._accepting = [asyncio.create_task(self._accept(listening)) for listening in self._sockets]
        return self._port

    async def stop(self) -> None:
        """Accept no more; connections that are open stay."""
        tasks = [*self._accepting, *self._beginning]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listening in self._sockets:
            listening.close()

    @property
    def _port(self) -> int:
        port: int = self._sockets[0].getsockname()[1] if self._sockets else 0
        return port

    def _listen(self, family: int, address: tuple[str | int, ...]) -> None:
        listening = socket.create_server(address, family=family, backlog=BACKLOG)
        listening.setblocking(False)
        self._sockets.append(listening)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError as error:
                logger.warning("A connection was not accepted: %s", error, extra={"event": "accept_failed"})
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            holder = self._book.take(str(address[0]))
            if holder is None:
                self._refuse(connection)
                continue
            task = asyncio.create_task(self._begin(connection, holder))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, accepted: socket.socket, holder: str) -> None:
        ended = False

        def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                self._book.give_back(holder)

        protocol = Connection(self._make_http, age_s=self._age_s, on_end=end)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if self._tls else None,
            )
        except (OSError, TimeoutError):  # its sender has left, or speaks no TLS
            end()
        except BaseException:
            end()
            raise

    def _refuse(self, connection: socket.socket) -> None:
        self._on_refused()
        with connection:
            if self._tls is None:
                connection.setblocking(False)
                with contextlib.suppress(OSError):
                    connection.recv(_SMALL_REQUEST_BYTES)  # what stays unread makes the system discard the answer
                with contextlib.suppress(OSError):
                    connection.send(_refusal_bytes(_IDS.next()))


def _refusal_bytes(request_id: str) -> bytes:
    text = _refusal_text()
    head = (
        f"HTTP/1.1 429 Too Many Requests\r\nContent-Type: {CONTENT_TYPE}\r\nRetry-After: {RETRY_AFTER_S}\r\n"
        f"{REQUEST_ID_HEADER}: {request_id}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    )
    return (head + text).encode()


@cache
def _refusal_text() -> str:
    words = "Too many connections are open from your address. Close some, or wait."
    return problem(429, words, "too_many_connections").text or ""

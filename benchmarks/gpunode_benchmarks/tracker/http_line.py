"""One kept connection that sends ready-made requests and reads answers: a client that costs less than the servers do.

A client library takes longer for a request than a bare handler does, and would be what is measured.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import NO_CONTENT
from typing import Final, Self, cast

from gpunode_benchmarks.errors import BenchmarkFailed

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def of_url(cls, url: str) -> Self:
        """Return the address of ``http://HOST:PORT``."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        return cls(host, int(port))


def request_bytes(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a request as it goes over the wire; underscores in names of headers stand for hyphens."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if method != "GET":
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_head(head: bytes) -> tuple[int, int]:
    """Return status and length of the body of an answer, by what stands before the body.

    Raises:
        ValueError: the answer does not say how long it is.
    """
    status, found = int(head[9:12]), _LENGTH.search(head)
    if found is None and status != NO_CONTENT:
        raise ValueError("an answer without Content-Length")
    return status, int(found[1]) if found is not None else 0


class HttpLine(asyncio.Protocol):
    """One connection, one request at a time. Open it with ``http_line``."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._missing_bytes = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._again: _Again | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the protocol has it
        """See ``asyncio.Protocol``."""
        self._transport = None
        self._fail("A server closed a connection. Run it again.")

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._parts.append(data)
        if self._missing_bytes:
            self._missing_bytes -= len(data)
        else:
            whole = data if len(self._parts) == 1 else b"".join(self._parts)
            end = whole.find(_HEAD_END)
            if end < 0:
                return
            status, length = read_head(whole[:end])
            if not 200 <= status < 300:
                self._fail(
                    f"A request was answered with {status}: {whole[end:][:500].decode(errors='replace').strip()}"
                )
                return
            self._missing_bytes = end + len(_HEAD_END) + length - len(whole)
        if self._missing_bytes <= 0:
            self._answered()

    def _answered(self) -> None:
        again = self._again
        if again is not None:
            again.count += 1
            if time.perf_counter() < again.ends_at:
                self._send(again.request)
                return
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(b"".join(self._parts).partition(_HEAD_END)[2])

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(BenchmarkFailed(reason))

    def _send(self, request: bytes) -> None:
        self._parts.clear()
        self._missing_bytes = 0
        if self._transport is None:
            self._fail("A server closed a connection. Run it again.")
        else:
            self._transport.write(request)

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return the answer's body.

        Raises:
            BenchmarkFailed: it was refused, or the server has closed the connection.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._send(request)
        return await self._answer

    async def ask_until(self, request: bytes, ends_at: float) -> int:
        """Send a request again and again, once at least, each as soon as the one before is answered; return how many.

        Args:
            ends_at: seconds of ``time.perf_counter``; none is sent from then on.

        Raises:
            BenchmarkFailed: as for ``ask``.
        """
        self._again = _Again(request, ends_at)
        try:
            await self.ask(request)
            return self._again.count
        finally:
            self._again = None

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()


@dataclass(slots=True)
class _Again:
    """What is sent again until an instant, and how often it was answered."""

    request: bytes
    ends_at: float
    count: int = 0


@asynccontextmanager
async def http_line(address: Address) -> AsyncIterator[HttpLine]:
    """Open a connection; it is closed with the block."""
    _, line = await asyncio.get_running_loop().create_connection(HttpLine, address.host, address.port)
    try:
        yield line
    finally:
        line.close()

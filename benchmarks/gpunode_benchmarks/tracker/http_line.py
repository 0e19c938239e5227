"""One HTTP connection that costs its own process as little as possible: requests are bytes made beforehand."""

import asyncio
from dataclasses import dataclass
from typing import Final, Self, cast

from gpunode_benchmarks.errors import BenchmarkFailed

ANSWER_TIMEOUT_S: Final = 30.0
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


@dataclass(frozen=True)
class Answer:
    """status, body. head: as it came, without its end."""

    status: int
    head: bytes
    body: bytes


class HttpLine(asyncio.Protocol):
    """Sends one request after the other, each when the answer before it has come."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[Answer] | None = None
        self._body_at = 0
        self._end_at = 0

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect."""
        _, line = await asyncio.get_running_loop().create_connection(cls, host, port)
        return line

    async def ask(self, request: bytes) -> Answer:
        """Return the answer.

        Raises:
            BenchmarkFailed: the connection ended first, or nothing came.
        """
        if self._transport is None:
            raise BenchmarkFailed("The tracker closed a connection.")
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await asyncio.wait_for(self._answered, ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise BenchmarkFailed(f"No answer came within {ANSWER_TIMEOUT_S:.0f} s.") from error

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        self._buffer += data
        if not self._end_at:
            head_end = self._buffer.find(_HEAD_END)
            if head_end < 0:
                return
            self._body_at = head_end + len(_HEAD_END)
            self._end_at = self._body_at + _body_bytes(bytes(self._buffer[:head_end]))
        if len(self._buffer) >= self._end_at and self._answered is not None and not self._answered.done():
            head = bytes(self._buffer[: self._body_at - len(_HEAD_END)])
            self._answered.set_result(Answer(int(head[9:12]), head, bytes(self._buffer[self._body_at : self._end_at])))
            del self._buffer[: self._end_at]
            self._body_at = self._end_at = 0

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell who waits."""
        self._transport = None
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(BenchmarkFailed("The tracker closed a connection in the middle of a request."))


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return a request as it goes over the line."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body or method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + _HEAD_END + body


def _body_bytes(head: bytes) -> int:
    at = head.lower().find(_LENGTH)
    return int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0

"""A port of 127.0.0.1 for those who know a secret: the first line that they send.

``multiprocessing.connection`` has listeners with a key too, but theirs wait for one connection's proof before they look
at the next one: a stranger who says nothing keeps everybody out.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable
from typing import Final

LOOPBACK: Final = "127.0.0.1"

PROOF_TIMEOUT_S: Final = 5.0
"""What a connection has to prove itself; it knows what to say when it is made."""

MAX_UNPROVEN = 256
"""Connections at once that have not proven themselves; the oldest gives way to the next."""

_BACKLOG: Final = 32
"""Connections that asyncio accepts in one turn of its loop. Who knows the secret sends it at once, and it is read some
turns later: before strangers in their place, however fast they come, have made it the oldest."""

_LINE_BYTES: Final = 65_536

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
"""Takes a connection that has proven itself, and owns it from then on."""


class SecretListener:
    """Accepts connections from ``open`` to ``close``; those without the secret are closed unanswered.

    Args:
        accept: see there.
        line_bytes: the longest line that an accepted connection's reader takes.
    """

    def __init__(self, accept: Accept, *, line_bytes: int = _LINE_BYTES) -> None:
        self.port = 0  #: once it is open
        self.secret = secrets.token_hex()
        self._accept = accept
        self._line_bytes = line_bytes
        self._server: asyncio.Server | None = None
        self._unproven: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}  # in the order in which they came

    async def open(self) -> None:
        """Listen on a free port. Raises OSError: there is none."""
        self._server = await asyncio.start_server(self._begin, LOOPBACK, 0, limit=self._line_bytes, backlog=_BACKLOG)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more, and drop whoever has not proven itself yet. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for stranger in list(self._unproven):
            self._drop(stranger)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted in the moment in which it was closed
            writer.close()
            return
        if len(self._unproven) >= MAX_UNPROVEN:
            self._drop(next(iter(self._unproven)))
        self._unproven[writer] = asyncio.create_task(self._check(reader, writer))

    def _drop(self, stranger: asyncio.StreamWriter) -> None:
        """Close a connection now: a cancelled task ends turns later, and one that has not begun closes nothing."""
        self._unproven.pop(stranger).cancel()
        stranger.close()

    async def _check(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proven = await _begins_with(self.secret, reader)
        del self._unproven[writer]  # first: whoever takes it may close the listener
        if proven:
            self._accept(reader, writer)
        else:
            writer.close()


async def _begins_with(secret: str, reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(PROOF_TIMEOUT_S):
            line = await reader.readline()
    except (OSError, ValueError, TimeoutError):
        return False
    return hmac.compare_digest(line.rstrip(b"\n"), secret.encode())

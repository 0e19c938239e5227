"""The end of what a process writes to stderr."""

import asyncio
import contextlib

_KEPT_BYTES = 4096
_CLOSE_S = 1.0


class LastWords:
    """Reads a stream to its end and keeps the end of it. Backends log errors only, never prompts."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._words = bytearray()
        self._reading = asyncio.create_task(self._read())

    def __str__(self) -> str:
        return self._words.decode(errors="replace").strip()

    async def wait(self) -> None:
        """Wait for the end, once the process was killed with all that it started. Idempotent."""
        await asyncio.wait({self._reading}, timeout=_CLOSE_S)
        self._reading.cancel()  # only a process outside of the child's group can still hold the pipe

    async def _read(self) -> None:
        with contextlib.suppress(OSError):  # a pipe that broke has ended too
            while chunk := await self._stream.read(_KEPT_BYTES):
                self._words += chunk
                del self._words[:-_KEPT_BYTES]

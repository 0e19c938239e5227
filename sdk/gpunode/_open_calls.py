"""The calls of a client that are under way: closing it ends them, and says so to whoever waits."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from gpunode.errors import ClientClosed


class OpenCalls:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._is_closed = False
        self._ended = asyncio.Event()

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[None, None]:
        """Surround a call.

        Raises:
            ClientClosed: at the beginning, or instead of what the call waits for, when the client is closed.
        """
        if self._is_closed:
            raise ClientClosed
        scope = asyncio.timeout(None)  # expires when the client closes: its owner's own cancellation is told apart
        self._scopes.add(scope)
        try:
            async with scope:
                yield
        except TimeoutError:
            if scope.expired():
                raise ClientClosed from None
            raise
        finally:
            self._scopes.discard(scope)
            self._ended.set()

    async def close(self) -> None:
        """End all of them, and wait until they have ended."""
        if not self._is_closed:
            self._is_closed = True
            for scope in self._scopes:
                scope.reschedule(asyncio.get_running_loop().time())
        while self._scopes:
            self._ended.clear()
            await self._ended.wait()

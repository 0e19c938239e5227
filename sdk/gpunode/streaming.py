"""Streamed answers: iterators that cancel the job when they are closed early or forgotten."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from gpunode._chat import ChatState, chat_chunks
from gpunode._job_run import JobRun
from gpunode.errors import BegunBeforeFork, ClientError
from gpunode.types import ChatResult, Chunk, Route

T = TypeVar("T")


class AsyncChatStream(AsyncIterator[Chunk]):
    """The pieces of an answer as they come; only after the last one everything has been verified.

    Leave the loop early inside ``async with``, or call ``close()``: the job is cancelled within one token, and what
    was received is paid for. Forgetting the stream does the same.

    Args:
        start: finds nodes and a grant; called at the first iteration.
        monotonic: seconds.
        is_shown: whether anybody sees the pieces; if not, only ``result`` counts.
    """

    def __init__(
        self, start: Callable[[], Awaitable[JobRun]], *, monotonic: Callable[[], float], is_shown: bool = True
    ) -> None:
        self._state = ChatState()
        self._chunks: AsyncGenerator[Chunk, None] = chat_chunks(
            start, self._state, is_shown=is_shown, monotonic=monotonic
        )
        self._reading: asyncio.Future[Chunk | None] | None = None
        self._is_closed = False
        self._ending = asyncio.Lock()

    async def __anext__(self) -> Chunk:
        """Return the next piece.

        Raises:
            NoNodeFound, RequestRefused, AnswerInterrupted, VerificationFailed, ClientError: see ``chat``.
        """
        chunk = None if self._is_closed else await self._next()  # the closing may not be over yet
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def _next(self) -> Chunk | None:
        """Return the next piece, None at the end, or when the stream is closed meanwhile."""
        if self._reading is not None and not self._reading.done():
            raise ClientError("A stream has one reader at a time, and this one is being read. Begin one for each task.")
        self._reading = asyncio.ensure_future(_next_or_none(self._chunks))  # so that closing can end it first
        try:
            return await self._reading
        except asyncio.CancelledError:
            if not self._is_closed:
                await self._end()  # the piece may have come in the same moment
                raise
            return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel the job unless it is over; a task that waits for the next piece is told that there is none."""
        self._is_closed = True
        if self._reading is not None and not self._reading.done():
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._end()

    async def _end(self) -> None:
        async with self._ending:  # Ctrl-C and what follows from it may come here at once
            await self._chunks.aclose()

    @property
    def route(self) -> Route | None:
        """The node that answers; None until one was reached."""
        return self._state.route

    @property
    def result(self) -> ChatResult:
        """The whole, verified answer.

        Raises:
            ClientError: the stream has not come to its end.
        """
        return _finished(self._state.result)


class ChatStream(Iterator[Chunk]):
    """``AsyncChatStream`` for code without an event loop; use it in a ``with`` block, or ``close()`` it.

    Args:
        stream: the stream behind it.
        run: runs a coroutine on the client's event loop and returns its result.
    """

    def __init__(self, stream: AsyncChatStream, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._stream = stream
        self._run = run

    def __next__(self) -> Chunk:
        """Return the next piece; errors as in ``AsyncChatStream``."""
        chunk: Chunk | None = self._run(_next_or_none(self._stream))
        if chunk is None:
            raise StopIteration
        return chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the job unless it is over, or another process's: a forked child leaves it to its parent."""
        with contextlib.suppress(BegunBeforeFork):
            self._run(self._stream.close())

    @property
    def route(self) -> Route | None:
        """The node that answers; None until one was reached."""
        return self._stream.route

    @property
    def result(self) -> ChatResult:
        """The whole, verified answer; ``ClientError`` before the stream's end."""
        return self._stream.result


async def _next_or_none(stream: AsyncIterator[Chunk]) -> Chunk | None:
    """Return the next piece, None at the end: StopAsyncIteration cannot leave a task."""
    try:
        return await anext(stream)
    except StopAsyncIteration:
        return None


def _finished(result: ChatResult | None) -> ChatResult:
    if result is None:
        raise ClientError("The stream has not come to its end; iterate over it before you ask for its result.")
    return result

"""Reads ahead of a slow caller: the node is not kept waiting for vouchers, and what it says is heard in time."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final, TypeVar

from gpunode._ending import end_all

T = TypeVar("T")

MAX_AHEAD: Final = 4_096
"""Items that wait for the caller; with more than these nothing is read, and the node feels the pressure."""


@dataclass(frozen=True)
class _End:
    """Nothing follows. error: what ended it, None = all was read."""

    error: Exception | None


async def read_ahead(source: AsyncGenerator[T, None], limit: int = MAX_AHEAD) -> AsyncGenerator[T, None]:
    """Yield what a generator yields, which goes on meanwhile by up to ``limit`` items.

    What it raises comes after what it yielded. Closing this closes the generator.
    """
    queue: asyncio.Queue[T | _End] = asyncio.Queue(limit)
    reading = asyncio.create_task(_read(source, queue))
    try:
        while not isinstance(item := await queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        try:
            await end_all([reading])
        finally:
            await source.aclose()


async def _read(source: AsyncGenerator[T, None], queue: asyncio.Queue[T | _End]) -> None:
    try:
        async for item in source:
            await queue.put(item)
    except Exception as error:  # noqa: BLE001 -- the reader raises it
        await queue.put(_End(error))
    else:
        await queue.put(_End(None))

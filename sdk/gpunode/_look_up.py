"""One search under way, and when what it has found so far is worth going on with."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from gpunode_protocol.regions import Region

from gpunode._advert_pool import AdvertPool, Found
from gpunode._selection import ENOUGH

DHT_PATIENCE_S: Final = 0.6
"""The DHT gets at least this, from the beginning, beside an index that has named candidates: the tracker may be next
door, and have answered before the DHT could. On a busy machine or across a continent that is enough."""
INDEX_PATIENCE_S: Final = 1.0
"""The index gets at least this, from the beginning, beside a DHT that has named candidates. It is the second opinion
on whoever holds a key's places there, so a tracker on another continent must have the time to answer."""


class LookUp:
    """Collects what the sources bring. ``Discovery`` makes it and tells it of their answers.

    Args:
        pool: takes the adverts.
        near: the region in which nodes are looked for first, None = everywhere at once.
        dht_patience_s: see ``DHT_PATIENCE_S``.
    """

    def __init__(self, pool: AdvertPool, near: Region | None, dht_patience_s: float = DHT_PATIENCE_S) -> None:
        self.pool = pool
        self._near = near
        self._dht_patience_s = dht_patience_s
        self._task: asyncio.Task[None] | None = None
        self._has_index = False
        self._has_dht = False
        self._is_hurried = False
        self._news = asyncio.Event()

    def start(self, search: Coroutine[Any, Any, None]) -> None:
        """Run the search, once."""
        self._task = asyncio.create_task(search)
        self._task.add_done_callback(lambda _: self._news.set())

    def on_end(self, call: "Callable[[LookUp], None]") -> None:
        """Call when the search has ended."""
        self._running.add_done_callback(lambda _: call(self))

    @property
    def is_under_way(self) -> bool:
        """Whether more may come."""
        return not self._running.done()

    @property
    def spares_the_rest(self) -> bool:
        """Whether nobody waits for what the DHT knows of far regions, of which the index has told already.

        To ask it takes a dozen look-ups, just when the caller's job begins. The next search does it.
        """
        return self._is_hurried and self._has_index and self.pool.count > 0

    def changed(self) -> None:
        """Note that adverts may have come in."""
        self._news.set()

    def index_answered(self) -> None:
        """Note that the index was read, or cannot be."""
        self._has_index = True
        self._news.set()

    def dht_answered(self) -> None:
        """Note that the DHT was asked for the nodes that are near."""
        self._has_dht = True
        self._news.set()

    async def soon(self, on_first: Callable[[Found], None]) -> Found:
        """Return what there is as soon as it is worth going on with; the search goes on, see ``whole``.

        That is when one source has named somebody near (the index, which knows all regions: anybody at all), or eight
        candidates, and the other one has answered as well or had as long again. If it never is: the whole. Far regions
        are not asked after where the index has told of them.

        Args:
            on_first: told of the first source's candidates, while the other one is waited for.
        """
        self._is_hurried = True
        loop = asyncio.get_running_loop()
        began_at, ends_at = loop.time(), None
        try:
            while self.is_under_way and not (ends_at is not None and self._has_index and self._has_dht):
                self._news.clear()
                if ends_at is None and self._is_promising:
                    least_s = self._dht_patience_s if self._has_index else INDEX_PATIENCE_S
                    ends_at = began_at + max(least_s, 2 * (loop.time() - began_at))
                    on_first(self.pool.found())
                    continue
                async with asyncio.timeout_at(ends_at):
                    await self._news.wait()
        except TimeoutError:
            pass  # what comes later is for the next one
        except BaseException:
            await self.cancel()
            raise
        return self.pool.found() if self.is_under_way else await self.whole()

    async def whole(self) -> Found:
        """Return everything that the search brings; being cancelled ends it."""
        await self._running
        return self.pool.found()

    async def cancel(self) -> None:
        """End the search."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    @property
    def _running(self) -> asyncio.Task[None]:
        assert self._task is not None  # noqa: S101 -- started by whoever made it
        return self._task

    @property
    def _is_promising(self) -> bool:
        if self.pool.count >= ENOUGH or self.pool.has_any_in(self._near):
            return True
        return self._has_index and self.pool.count > 0

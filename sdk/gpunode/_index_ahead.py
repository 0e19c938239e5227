"""The tracker's index, asked for before the search that needs it: while the mesh is joined, the way to it is idle."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NodesReply

from gpunode._selection import Wanted

GOOD_FOR_S: Final = 10.0
"""As long as what was found is used without another look."""

_Topic = tuple[Task, str | None, Region | None]


class IndexAhead:
    """Fetches the index, or gives what it was told to fetch before.

    Args:
        fetch: asks the tracker; raises ``ClientError``.
        monotonic: seconds.
    """

    def __init__(self, fetch: Callable[[Wanted], Awaitable[NodesReply]], *, monotonic: Callable[[], float]) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._begun: dict[_Topic, tuple[float, asyncio.Task[NodesReply]]] = {}

    def begin(self, wanted: Wanted) -> None:
        """Ask now for what will be needed soon."""
        topic = _topic_of(wanted)
        if topic not in self._begun:
            self._begun[topic] = self._monotonic(), asyncio.ensure_future(self._fetch(wanted))

    async def __call__(self, wanted: Wanted) -> NodesReply:
        """Return the index. What was fetched before serves once, and for 10 s.

        Raises:
            ClientError: the tracker does not tell.
        """
        begun_at, task = self._begun.pop(_topic_of(wanted), (0.0, None))
        if task is None:
            return await self._fetch(wanted)
        if self._monotonic() - begun_at < GOOD_FOR_S:
            return await task
        await _end(task)
        return await self._fetch(wanted)

    async def close(self) -> None:
        """Ask no more."""
        begun, self._begun = self._begun, {}
        await asyncio.gather(*(_end(task) for _, task in begun.values()))


async def _end(task: "asyncio.Task[NodesReply]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _topic_of(wanted: Wanted) -> _Topic:
    return wanted.task, wanted.model, wanted.region

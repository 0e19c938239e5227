"""The daemons' common part; ``test_daemon`` and ``pull/test_daemon`` have it with real parts."""

import asyncio
from typing import Any, cast

import pytest
from gpunode_node.serving import HOUSEKEEPING_INTERVAL_S, drain_watched, keep_house, work_until

from tests.node.virtual_time import virtual_time


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _fail() -> None:
    raise LookupError("broken")


async def test_an_event_ends_the_work_in_order() -> None:
    """The tasks go on: whoever made them ends them."""
    events, task = [asyncio.Event(), asyncio.Event()], asyncio.create_task(_for_ever())
    events[1].set()
    await work_until(events, [task])
    assert not task.done()
    task.cancel()


async def test_a_task_that_fails() -> None:
    """Its failure ends the work, also when an event came with it."""
    event = asyncio.Event()
    for _ in range(2):
        with pytest.raises(LookupError):
            await work_until([event], [asyncio.create_task(_fail())])
        event.set()


async def test_a_watched_drain() -> None:
    """It ends by itself, or by the watch, or fails."""
    watching = asyncio.create_task(_for_ever())
    await drain_watched(asyncio.sleep(0), watching)
    with pytest.raises(LookupError):
        await drain_watched(_fail(), watching)
    assert not watching.done()
    watching.cancel()
    with pytest.raises(LookupError):
        await drain_watched(_for_ever(), asyncio.create_task(_fail()))


class _Kept:
    """Stands in for registry and desk."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def expire(self, now: float) -> asyncio.Future[None]:
        """Note the time."""
        self.times.append(now)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@virtual_time
async def test_the_house_is_kept_by_each_ones_own_clock() -> None:
    """The registry goes by the loop's time, the desk's file by Unix time."""
    registry, desk = _Kept(), _Kept()
    start = asyncio.get_running_loop().time()
    keeping = asyncio.create_task(keep_house(cast("Any", registry), cast("Any", desk), lambda: 7.0))
    await asyncio.sleep(2.5 * HOUSEKEEPING_INTERVAL_S)
    keeping.cancel()
    assert registry.times == [start + HOUSEKEEPING_INTERVAL_S, start + 2 * HOUSEKEEPING_INTERVAL_S]
    assert desk.times == [7.0, 7.0]

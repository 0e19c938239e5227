import asyncio
import inspect
import logging

import pytest
from gpunode._background import Background
from gpunode.errors import TrackerUnreachable

from tests.node.virtual_time import virtual_time


@virtual_time
async def test_closing_waits_for_what_runs_and_what_that_starts() -> None:
    """Work may start more work."""
    background, done = Background(), []

    async def last() -> None:
        await asyncio.sleep(1)
        done.append("last")

    async def first() -> None:
        await asyncio.sleep(1)
        background.spawn(last())

    background.spawn(first())
    await background.close()
    assert done == ["last"]


@virtual_time
async def test_closing_does_not_wait_for_ever() -> None:
    """After the deadline, the rest is cancelled."""
    background, ended = Background(), []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(asyncio.get_running_loop().time())

    started_at = asyncio.get_running_loop().time()
    background.spawn(endless())
    await background.close(3)
    assert [at - started_at for at in ended] == [3]


@virtual_time
async def test_closing_cancels_what_can_wait() -> None:
    """At once."""
    background = Background()
    began_at = asyncio.get_running_loop().time()
    task = background.spawn(asyncio.sleep(100), can_wait=True)
    await asyncio.sleep(0)
    await background.close()
    assert (task.cancelled(), asyncio.get_running_loop().time()) == (True, began_at)


async def test_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Foreseen ones with their message, others with a traceback."""
    background = Background()

    async def fail(error: Exception) -> None:
        raise error

    with caplog.at_level(logging.WARNING):
        background.spawn(fail(TrackerUnreachable("nobody there")))
        background.spawn(fail(ZeroDivisionError()))
        await background.close()
    assert [record.exc_info is not None for record in caplog.records] == [False, True]
    assert "nobody there" in caplog.text


async def test_what_is_cancelled_before_its_first_step_leaves_no_warning() -> None:
    """A client that is closed as soon as it was opened."""
    background = Background()
    never_begun = _sleep()
    background.spawn(never_begun, can_wait=True)
    await background.close()
    assert inspect.getcoroutinestate(never_begun) == inspect.CORO_CLOSED


async def _sleep() -> None:
    await asyncio.sleep(1)

import asyncio

import pytest
from gpunode._ending import end_all, result_of


async def _slow_to_end(steps: int) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        for _ in range(steps):
            await asyncio.sleep(0)


async def test_tasks_have_ended_although_the_caller_is_cancelled_meanwhile() -> None:
    """Twice, even; it hears of that afterwards."""
    slow = asyncio.ensure_future(_slow_to_end(10))
    await asyncio.sleep(0)
    ending = asyncio.ensure_future(end_all([slow]))
    for _ in range(2):
        await asyncio.sleep(0)
        ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert slow.cancelled()


async def test_nothing_is_waited_for_where_all_have_ended() -> None:
    """So nobody is cancelled in that moment."""
    done = asyncio.ensure_future(asyncio.sleep(0, "result"))
    await done
    coroutine = end_all([done])
    with pytest.raises(StopIteration):
        coroutine.send(None)


async def test_only_a_task_that_succeeded_has_a_result() -> None:
    """One that failed, or was ended, has none."""
    loop = asyncio.get_running_loop()
    good, bad, ended = (loop.create_future() for _ in range(3))
    good.set_result(1)
    bad.set_exception(ValueError())
    ended.cancel()
    assert [result_of(task) for task in (good, bad, ended, None)] == [1, None, None, None]

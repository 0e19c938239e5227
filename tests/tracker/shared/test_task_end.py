"""Ending tasks."""

import asyncio

from gpunode_tracker.shared.task_end import end_tasks


async def test_a_lost_cancellation_is_repeated() -> None:
    """A task that took the first one for something else gets another."""
    lost = asyncio.Event()

    async def lose_one() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(lose_one())
    await asyncio.sleep(0)
    await end_tasks([task])
    assert lost.is_set()
    assert task.cancelled()


async def test_what_has_ended_or_failed_is_no_matter() -> None:
    """Neither is waited for nor raised."""

    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    await end_tasks([task])
    await end_tasks([])

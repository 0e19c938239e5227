"""What a pull worker that pauses tells its tracker."""

import asyncio

from gpunode_node.bell import Bell
from gpunode_node.pull.presence import WorkerPresence


async def test_heartbeats_say_it_and_the_poll_hears_of_it() -> None:
    """The poll is left when the pause begins, and begun again after the tracker knows that it is over."""
    told: list[str] = []
    bell = Bell()

    async def beat() -> None:
        told.append("beat")

    async def poll() -> None:
        while True:
            await bell.wait()
            told.append("poll")

    polling = asyncio.create_task(poll())
    await asyncio.sleep(0)
    presence = WorkerPresence(beat, bell)
    for step in (presence.leave, presence.come_back):
        if step == presence.leave:
            presence.hush()
            await asyncio.sleep(0)
        await step()
        await asyncio.sleep(0)
    polling.cancel()
    assert told == ["poll", "beat", "beat", "poll"]

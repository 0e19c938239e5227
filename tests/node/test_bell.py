"""Waking waiters."""

import asyncio

from gpunode_node.bell import Bell

from tests.node.virtual_time import virtual_time


@virtual_time
async def test_a_ring_wakes_everyone() -> None:
    """All who wait now are woken, once."""
    bell = Bell()
    waiting = asyncio.gather(bell.wait(), bell.wait(5))
    asyncio.get_running_loop().call_later(1, bell.ring)
    assert await waiting == [True, True]


@virtual_time
async def test_waiting_has_a_limit() -> None:
    """Without a ring the wait ends; a ring before it does not count."""
    bell = Bell()
    bell.ring()
    assert await bell.wait(5) is False

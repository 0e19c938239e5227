"""Waiting for a child to load; with a real child that is stopped: test_supervisor."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from gpunode_engines.channel import ChildChannel, ParentChannel
from gpunode_engines.errors import EngineStartFailed
from gpunode_engines.ipc import Loaded
from gpunode_engines.load_watch import first_answer

from tests.engines.scripted_engine import QUICK_LIMITS
from tests.engines.test_session import LOADED, ORDER

LIMITS = replace(QUICK_LIMITS, heartbeat_s=0.01, silence_s=0.03)
"""Three looks."""


class LookedAt:
    """A child that is stopped at some looks, and answers when there are no more."""

    def __init__(self, channel: ParentChannel, side: ChildChannel, looks: Iterator[bool]) -> None:
        self.channel = channel
        self._side = side
        self._looks = looks

    @property
    def is_stopped(self) -> bool:
        """Whether it is at this look."""
        look = next(self._looks, None)
        if look is None:
            self._side.send(LOADED)
        return bool(look)


async def _watched(*looks: bool) -> object:
    ours, theirs = socket.socketpair()
    channel = await ParentChannel.open(ours)
    try:
        with theirs:
            return await first_answer(LookedAt(channel, ChildChannel(theirs), iter(looks)), ORDER, LIMITS)
    finally:
        await channel.close()


async def test_a_child_that_goes_on_in_time_loads() -> None:
    """Each stop is shorter than is allowed."""
    assert isinstance(await _watched(True, True, False, True, True, False), Loaded)


async def test_a_child_that_stays_stopped_is_given_up() -> None:
    """And nothing of the wait is left."""
    tasks = asyncio.all_tasks()
    with pytest.raises(EngineStartFailed, match=r"stopped for 0\.03 s while it loaded scripted"):
        await _watched(True, True, True)
    assert asyncio.all_tasks() == tasks

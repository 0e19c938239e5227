"""Waiting for a child to load its model. It answers no ping meanwhile, so what the system says of it must do."""

import asyncio
from typing import Protocol

from gpunode_engines.channel import ParentChannel
from gpunode_engines.errors import EngineStartFailed
from gpunode_engines.ipc import ChildMessage, Load
from gpunode_engines.limits import EngineLimits


class LoadingChild(Protocol):
    """What is watched: see ``ChildProcess``."""

    channel: ParentChannel

    @property
    def is_stopped(self) -> bool:
        """Whether the system lets the child do nothing."""
        ...


async def first_answer(child: LoadingChild, order: Load, limits: EngineLimits) -> ChildMessage:
    """Have a child load its model and return what it says of that.

    One that is stopped for ``silence_s`` is given up. One that waits for something that never comes looks like one
    that waits for a slow disk or card; the caller bounds how long that may last.

    Raises:
        EngineStartFailed: it is stopped. OSError, EOFError, ProtocolError: see ``ParentChannel``.
    """
    answering = asyncio.create_task(_ask(child, order))
    stopped_s = 0.0  # by looks, not by the clock: who was stopped together with the child has not looked
    try:
        while not (await asyncio.wait({answering}, timeout=limits.heartbeat_s))[0]:
            stopped_s = stopped_s + limits.heartbeat_s if child.is_stopped else 0.0
            if stopped_s >= limits.silence_s:
                raise EngineStartFailed(f"The engine was stopped for {stopped_s:g} s while it loaded {order.model}.")
        return answering.result()
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


async def _ask(child: LoadingChild, order: Load) -> ChildMessage:
    await child.channel.send(order)
    return await child.channel.receive()

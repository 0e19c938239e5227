"""Opens a stream to a node, and looks meanwhile whether there is still a process to open it to."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

from gpunode_protocol.mesh.errors import PeerUnreachable
from gpunode_protocol.mesh.interface import MeshStream

from gpunode._ending import end_all, result_of
from gpunode._knocking import HasEnded
from gpunode._silence import KNOCK_INTERVAL_S

MIN_OPENING_S: Final = 0.3
"""Longer than a stream takes on a connection that is there, around half the earth. A peer of which only QUIC could tell
that it is gone keeps libp2p waiting for as long as it may."""


async def open_unless_ended(opening: Coroutine[Any, Any, MeshStream], has_ended: HasEnded) -> MeshStream:
    """Return the opened stream; the caller closes it.

    Args:
        opening: opens it, and is awaited or cancelled here.
        has_ended: asked 0.3 s later, and then every second.

    Raises:
        PeerUnreachable: the node's process has ended, or ``opening`` says so.
    """
    open_task = asyncio.ensure_future(opening)
    knock_task = asyncio.ensure_future(_until_ended(has_ended))
    is_returned = False
    try:
        await asyncio.wait({open_task, knock_task}, return_when=asyncio.FIRST_COMPLETED)
        stream = open_task.result() if open_task.done() else knock_task.result()
        await end_all([open_task, knock_task])
        is_returned = True
        return stream
    finally:
        try:
            await end_all([open_task, knock_task])
        finally:
            opened, _ = result_of(open_task), result_of(knock_task)
            if not is_returned and opened is not None:
                opened.abort()


async def _until_ended(has_ended: HasEnded) -> NoReturn:
    pause_s = MIN_OPENING_S
    while True:
        await asyncio.sleep(pause_s)
        if await has_ended():
            raise PeerUnreachable("The node's process has ended: it refuses connections.")
        pause_s = KNOCK_INTERVAL_S

import asyncio
from typing import cast

import pytest
from gpunode._opening import MIN_OPENING_S, open_unless_ended
from gpunode._silence import KNOCK_INTERVAL_S
from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh.errors import PeerUnreachable
from gpunode_protocol.mesh.interface import MeshStream

from tests.node.virtual_time import virtual_time
from tests.sdk.memory_mesh import MemoryStream


class _Opening:
    """Takes so many seconds, and then succeeds or fails."""

    def __init__(self, takes_s: float, error: Exception | None = None) -> None:
        self.stream = MemoryStream(PeerId("12D3KooWNode"), "/memory")
        self.stream.other = self.stream
        self.was_cancelled = False
        self._takes_s, self._error = takes_s, error

    async def open(self) -> MeshStream:
        """Open it."""
        try:
            await asyncio.sleep(self._takes_s)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self._error is not None:
            raise self._error
        return cast("MeshStream", self.stream)


class _Door:
    """Refuses from a certain knock on; never if that is 0."""

    def __init__(self, refuses_from: int = 0) -> None:
        self.knocks = 0
        self._refuses_from = refuses_from

    async def has_ended(self) -> bool:
        """Knock."""
        self.knocks += 1
        return 0 < self._refuses_from <= self.knocks


@virtual_time
async def test_nobody_knocks_at_a_node_that_is_there() -> None:
    """A stream is open within moments."""
    opening, door = _Opening(MIN_OPENING_S / 2), _Door()
    assert await open_unless_ended(opening.open(), door.has_ended) is opening.stream
    assert door.knocks == 0


@virtual_time
async def test_a_process_that_has_ended_is_not_waited_for() -> None:
    """The opening is given up at the first refusal."""
    opening, door = _Opening(10.0), _Door(refuses_from=2)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with pytest.raises(PeerUnreachable, match="refuses connections"):
        await open_unless_ended(opening.open(), door.has_ended)
    assert loop.time() - began_at == pytest.approx(MIN_OPENING_S + KNOCK_INTERVAL_S)
    assert opening.was_cancelled


@virtual_time
async def test_a_door_that_does_not_refuse_says_nothing() -> None:
    """The opening has all its time."""
    opening, door = _Opening(3.0), _Door()
    assert await open_unless_ended(opening.open(), door.has_ended) is opening.stream
    assert door.knocks == 3


@virtual_time
async def test_a_failure_is_passed_on() -> None:
    """What libp2p says counts first."""
    opening, door = _Opening(0.1, PeerUnreachable("said libp2p")), _Door(refuses_from=1)
    with pytest.raises(PeerUnreachable, match="said libp2p"):
        await open_unless_ended(opening.open(), door.has_ended)


@virtual_time
async def test_a_caller_that_leaves_keeps_nothing_open() -> None:
    """Not even a stream that is opened in the same moment."""
    opening, door = _Opening(0.1), _Door()

    async def open_as_the_caller_leaves() -> MeshStream:
        stream = await opening.open()
        leaving.cancel()
        return stream

    leaving = asyncio.ensure_future(open_unless_ended(open_as_the_caller_leaves(), door.has_ended))
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert opening.stream.was_aborted


@virtual_time
async def test_a_stream_is_not_lost_whenever_the_caller_goes() -> None:
    """Also in the moment in which it is open: it is returned, or ended."""
    for steps in range(1, 10):
        opening, door = _Opening(0.0), _Door()
        task = asyncio.ensure_future(open_unless_ended(opening.open(), door.has_ended))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        was_opened = steps > 1 and not opening.was_cancelled
        assert not was_opened or not task.cancelled() or opening.stream.was_aborted, steps

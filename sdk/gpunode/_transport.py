"""Drives one job over one stream: writes what the job wants to send, reads, and keeps its deadlines."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from gpunode_protocol.client_job import ClientJob, Completed, JobEvent
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.mesh.interface import MeshStream
from gpunode_protocol.node_stream import SLOW_CONSUMER_TIMEOUT_S

from gpunode._knocking import HasEnded, Knocker
from gpunode._silence import Silence

_log = logging.getLogger(__name__)

WRITE_DEADLINE_S: Final = SLOW_CONSUMER_TIMEOUT_S
"""A node that does not take what is sent for this long is given up, as it gives up a slow client."""
WIND_DOWN_S: Final = 3.0
"""After ``cancel``, the node has this long to end the job properly."""
HAND_OVER_S: Final = 2.0
"""A node says ``settled`` as soon as it has the final voucher on its disk; one that does not is waited for so long."""
HELD_UP_S: Final = 0.5
"""A timer that is later than this was held up: something blocked the event loop, or the process was stopped."""
CATCH_UP_S: Final = 0.25
"""Then what came meanwhile has this long to reach the one who reads, before the timer counts."""


class ReadingClock:
    """Monotonic seconds that stand still while nobody reads, so that a slow consumer does not make the node late."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lost_s = 0.0
        self._paused_at: float | None = None

    def __call__(self) -> float:
        """Return the time."""
        return (self._monotonic() if self._paused_at is None else self._paused_at) - self._lost_s

    @property
    def lost_s(self) -> float:
        """How long it has stood still, in pauses that are over, and what was taken back."""
        return self._lost_s

    def pause(self) -> None:
        """Stop."""
        if self._paused_at is None:
            self._paused_at = self._monotonic()

    def resume(self) -> None:
        """Go on from where it stopped."""
        if self._paused_at is not None:
            self._lost_s += self._monotonic() - self._paused_at
            self._paused_at = None

    def lose(self, seconds: float) -> None:
        """Take back time in which nobody could read, > 0; the clock must be going."""
        self._lost_s += seconds


class JobLink:
    """One job on its stream.

    Args:
        stream: just opened; the link closes it.
        job: made with ``clock()`` as its ``opened_at``.
        clock: see ``ReadingClock``.
        has_ended: whether the node's process has, asked while it is silent; None = nobody can tell.
    """

    def __init__(
        self, stream: MeshStream, job: ClientJob, clock: ReadingClock, has_ended: HasEnded | None = None
    ) -> None:
        self.stream = stream
        self.job = job
        self.completed: Completed | None = None
        self.clock = clock
        self._is_cut = False
        self._knocker = None if has_ended is None else Knocker(Silence(job), has_ended, stream.abort)

    async def next_events(self) -> list[JobEvent]:
        """Wait for the next events, at least one; none once the job is over.

        While the caller does not call this, nothing is read: the node feels the pressure and no deadline runs.
        """
        self.clock.resume()
        try:
            events: list[JobEvent] = []
            while not events and not self.job.is_over:
                await self._send()
                events = await self._read()
            await self._send()
        finally:
            if self._knocker is not None:
                self._knocker.stop()
            self.clock.pause()
        self.completed = next((event for event in events if isinstance(event, Completed)), self.completed)
        return events

    async def wind_down(self) -> None:
        """Cancel the job and see it to its end, at most 3 s."""
        self.job.cancel("the client needs no more")
        try:
            async with asyncio.timeout(WIND_DOWN_S):
                while not self.job.is_over:
                    await self.next_events()
        except TimeoutError:
            _log.debug("the node did not end a cancelled job", extra={"event": "wind_down_timeout"})

    async def withdraw(self) -> None:
        """Ask the node to stop and close, without a word about what it has sent, or may still send."""
        self.job.cancel("another node was the first to begin")
        try:
            await self._send()
        finally:
            await self.stream.close()

    async def hand_over(self) -> bool:
        """Send the last voucher and close; return whether the node said that it has it: a stream's end says nothing."""
        try:
            async with asyncio.timeout(HAND_OVER_S):
                await self._send()
                while data := await self.stream.read():
                    if self.job.receive_settled(data):
                        return True
        except TimeoutError:
            _log.debug("the node does not say that it has its voucher", extra={"event": "hand_over_timeout"})
        finally:
            await self.stream.close()
        return False

    def abort(self) -> None:
        """End the stream at once."""
        self.stream.abort()

    async def _send(self) -> None:
        while outgoing := self.job.data_to_send(self.clock()):
            for data in outgoing:
                if not self._is_cut:
                    await self._write(data)

    async def _write(self, data: bytes) -> None:
        """Write one frame. After a failure nothing more is written, but reading goes on: the node may have said why."""
        try:
            async with asyncio.timeout(WRITE_DEADLINE_S):
                await self.stream.write(data)
        except (GpunodeError, TimeoutError) as error:
            self._is_cut = True
            _log.debug("the stream was cut: %s", error, extra={"event": "stream_cut"})

    async def _read(self) -> list[JobEvent]:
        try:
            data = await self._read_until(self._next_timer())
        except TimeoutError:
            if self._knocker is not None:
                self._knocker.on_timer(self.clock())
            return self.job.on_timer(self.clock())
        if self._knocker is not None:
            if not data and self._knocker.found_dead:
                return self.job.receive_refusal()
            self._knocker.heard(self.clock())
        return self.job.receive_data(data, self.clock()) if data else self.job.receive_eof()

    async def _read_until(self, due_at: float | None) -> bytes:
        """Read; raises TimeoutError at that instant, later if nothing ran meanwhile, which does not count."""
        begun_at = self.clock()
        wait_s = None if due_at is None else max(0.0, due_at - begun_at)
        try:
            async with asyncio.timeout(wait_s):
                return await self.stream.read()
        except TimeoutError:
            held_up_s = self.clock() - begun_at - (wait_s or 0.0)
            if held_up_s < HELD_UP_S:
                raise
        self.clock.lose(held_up_s)
        async with asyncio.timeout(CATCH_UP_S):
            return await self.stream.read()

    def _next_timer(self) -> float | None:
        knock_at = None if self._knocker is None else self._knocker.next_at()
        instants = [at for at in (self.job.next_timer(), knock_at) if at is not None]
        return min(instants, default=None)

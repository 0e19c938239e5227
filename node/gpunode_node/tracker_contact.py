"""What every way of working for a tracker needs of it: its word on the network, its clock, and whether it answers."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from gpunode_protocol.clock_offset import (
    CLOCK_FIX,
    WORTH_A_WORD_S,
    describe_offset,
    is_beyond_tolerance,
    offset_to_tracker,
)
from gpunode_protocol.errors import GpunodeError

from gpunode_node.network_state import NetworkState
from gpunode_node.tracker_client import TrackerClient

logger = logging.getLogger(__name__)

NETWORK_REFRESH_S = 600.0
"""Prices come with the network info only, which is asked for this often."""


class TrackerContact:
    """Keeps the picture of the network fresh.

    Args:
        client: of the tracker.
        state: learns of newer keys, revocations and prices.
        unix_time: seconds.
    """

    def __init__(self, client: TrackerClient, state: NetworkState, unix_time: Callable[[], float]) -> None:
        self._client = client
        self._state = state
        self._unix_time = unix_time
        self._refreshed_at = 0.0
        self.problem = ""  #: why the tracker could not be reached, empty when it could
        self.clock_offset_s: float | None = None  #: seconds by which this clock is ahead of the tracker's
        self.on_return: Callable[[], None] = lambda: None  #: called when the tracker answers again

    @property
    def clock_problem(self) -> str:
        """What is wrong with this computer's clock and what to do; empty while jobs can be served with it."""
        if self.clock_offset_s is None or not is_beyond_tolerance(self.clock_offset_s):
            return ""
        told = describe_offset(self.clock_offset_s, "the tracker's")
        return f"{told}: no client accepts this node and its adverts count nowhere. {CLOCK_FIX}."

    async def fetch_network(self) -> None:
        """Take the tracker's network info.

        Raises:
            TrackerUnreachable, TrackerRefused: no info.
            OtherNetwork, Untrusted, ProtocolError: it is not acceptable.
        """
        self._refreshed_at = asyncio.get_running_loop().time()
        with self._noting_problems():
            asked_at = self._unix_time()
            info = await self._client.network()
            self._compare_clocks(asked_at, info.time)
            self._state.accept(info)

    async def _refresh_network(self) -> None:
        """Fetch the network info if it is time. Raises as ``fetch_network``."""
        if asyncio.get_running_loop().time() - self._refreshed_at > NETWORK_REFRESH_S:
            await self.fetch_network()

    @contextlib.contextmanager
    def _noting_problems(self) -> Iterator[None]:
        """Keep the last failure in ``problem``, and log when it comes and when it goes."""
        try:
            yield
        except GpunodeError as error:
            if not self.problem:
                logger.warning("tracker: %s", error, extra={"event": "tracker_lost"})
            self.problem = str(error)
            raise
        if self.problem:
            logger.info("the tracker answers again", extra={"event": "tracker_back"})
            self.on_return()
        self.problem = ""

    def _compare_clocks(self, asked_at: float, tracker_time: int) -> None:
        """Measure the offset; an answer that was too slow to tell the time by is left out."""
        answered_at = self._unix_time()
        if answered_at - asked_at >= WORTH_A_WORD_S:
            return
        before, self.clock_offset_s = self.clock_offset_s, offset_to_tracker(asked_at, answered_at, tracker_time)
        if self.clock_problem and not is_beyond_tolerance(before):
            logger.error("%s", self.clock_problem, extra={"event": "clock_off", "offset_s": self.clock_offset_s})

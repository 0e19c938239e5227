"""Watches the memory of the node's own process."""

import asyncio
import logging
from collections.abc import Callable

import psutil  # type: ignore[import-untyped]  # -- ships no annotations

from gpunode_node.errors import NodeMemoryFull
from gpunode_node.memory_limit import MemoryLimit, MemoryStage

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""One address may send 32 MiB in that time."""
_MEBIBYTE = 1024**2


def own_resident_bytes() -> int:
    """Return the resident memory of this process, without its children's."""
    return int(psutil.Process().memory_info().rss)


class MemoryWatch:
    """Looks every second, once it runs.

    Args:
        max_bytes: resident memory that the process may take, > 0.
        resident_bytes: reads what it takes.
    """

    def __init__(self, max_bytes: int, resident_bytes: Callable[[], int]) -> None:
        self._limit = MemoryLimit(max_bytes)
        self._resident_bytes = resident_bytes
        self.problem = ""  #: why no new streams and jobs are taken, empty while they are
        self.full = asyncio.Event()  #: the node should drain, and then ``raise_if_full``

    async def run(self) -> None:
        """Look until cancelled.

        Raises:
            NodeMemoryFull: it grows on although the node drains.
        """
        while True:
            self.look(asyncio.get_running_loop().time())
            await asyncio.sleep(INTERVAL_S)

    def look(self, now: float) -> None:
        """Look once; ``now``: monotonic seconds.

        Raises:
            NodeMemoryFull: the process must end at once.
        """
        resident = self._resident_bytes()
        stage = self._limit.judge(resident, now)
        before = self.problem
        self.problem = "" if stage is MemoryStage.CALM else self._told(resident)
        if bool(before) != bool(self.problem):
            logger.warning("%s", self.problem or "The node's memory is well again.", extra={"event": "node_memory"})
        if stage in {MemoryStage.FULL, MemoryStage.END}:
            self.full.set()
        if stage is MemoryStage.END:
            self.raise_if_full()

    def raise_if_full(self) -> None:
        """Raise the reason of the end, if memory is one.

        Raises:
            NodeMemoryFull: it is.
        """
        if self.full.is_set():
            raise NodeMemoryFull(
                f"{self.problem} It has ended for that reason; start it again, or let systemd do so "
                "(Restart=on-failure). If this comes again, allow more with GPUNODE_MEMORY_MAX_BYTES."
            )

    def _told(self, resident: int) -> str:
        most = self._limit.max_bytes
        return (
            f"The node's process takes {resident / _MEBIBYTE:.0f} of the {most / _MEBIBYTE:.0f} MiB of memory that it "
            "may take, and takes no new jobs."
        )

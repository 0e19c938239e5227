"""Watches p2pd's memory, and closes connections before an attack through them ends it; see ``memory_alarm``."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.mesh._dht_protocol import peer_text
from gpunode_protocol.mesh._hivemind_link import Link
from gpunode_protocol.mesh.memory_alarm import Measure, MemoryAlarm, MemorySample

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1
"""A look costs 20 µs; an attacker on the same machine makes p2pd allocate 1 GiB in between."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class MemoryGuard:
    """Guards the p2pd of one mesh, whichever is running.

    Args:
        link: returns the current link, None while there is none.
        busy_peers: returns the peers with open streams, which are spared at first.
        resident_max_bytes: the cap.
    """

    def __init__(
        self, link: Callable[[], Link | None], busy_peers: Callable[[], Collection[str]], resident_max_bytes: int
    ) -> None:
        self._link = link
        self._busy_peers = busy_peers
        self._resident_max_bytes = resident_max_bytes
        self._measure = Measure.NOTHING
        self._closing: asyncio.Task[None] | None = None

    async def run(self) -> NoReturn:
        """Watch until cancelled."""
        try:
            await self._watch()
        finally:
            if self._closing is not None:
                self._closing.cancel()

    async def _watch(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        watched: Link | None = None
        alarm = MemoryAlarm(self._resident_max_bytes)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            link = self._link()
            if link is None:
                continue
            if link is not watched:
                watched, alarm = link, MemoryAlarm(self._resident_max_bytes)
            memory = memory_of(link.daemon.pid)
            if memory is not None:
                sample = MemorySample(*memory, loop.time())
                self._take(alarm.judge(sample), link, sample)

    def _take(self, measure: Measure, link: Link, sample: MemorySample) -> None:
        if measure is not self._measure:
            self._measure = measure
            self._tell(sample)
        if measure is Measure.END:
            link.daemon.kill()
        elif measure is not Measure.NOTHING and (self._closing is None or self._closing.done()):
            spared = self._busy_peers() if measure is Measure.CLOSE_QUIET else ()
            self._closing = asyncio.create_task(_close(link, spared))

    def _tell(self, sample: MemorySample) -> None:
        _log.warning(
            "p2pd's memory: %d MiB resident, %d MiB allocated; connections: %s",
            sample.resident_bytes >> 20,
            sample.data_bytes >> 20,
            self._measure.value,
            extra={"event": "p2pd_memory", "measure": self._measure.name},
        )


async def _close(link: Link, spared: Collection[str]) -> None:
    """Close the connections to all other peers. p2pd may answer late, or be gone already."""
    with contextlib.suppress(GpunodeError):
        peers = {peer for peer, _ in await link.p2p.peers() if peer_text(peer) not in spared}
        await asyncio.gather(*(link.p2p.disconnect(peer) for peer in peers), return_exceptions=True)


def memory_of(pid: int) -> tuple[int, int] | None:
    """Return a process's resident and allocated bytes (man 5 proc, statm); None when it is gone or not on Linux."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(pages[1]) * _PAGE_BYTES, int(pages[5]) * _PAGE_BYTES

"""A peer that attacks over its own p2pd, past all politeness of our client, and what the victim's processes take."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from gpunode._loop_thread import LoopThread
from gpunode_protocol.mesh._hivemind_api import PeerID

from tests.acceptance.network import Network
from tests.acceptance.processes import Daemon
from tests.acceptance.raw_peer import FRAME_DEADLINE_S, RawPeer

OPEN_DEADLINE_S = 20.0
OPENS_AT_ONCE = 64
MAX_GROWTH_BYTES = 150_000_000

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Attacker:
    """Opens raw libp2p streams, any number and of any protocol. ``opened``: those that are held."""

    network: Network
    folder: Path
    opened: list[Opened] = field(default_factory=list)
    refused: int = 0  #: streams that were not even opened

    def __post_init__(self) -> None:
        """Join the mesh; this peer's own p2pd is not guarded, so that it can keep what it floods with."""
        self.peer = RawPeer(self.network, self.folder)
        self.mesh: Any = self.peer.mesh
        self.mesh._guarding.cancel()

    @property
    def loop(self) -> LoopThread:
        """Where the peer's streams live."""
        return self.peer._loop

    def dial(self, victim: Daemon) -> PeerID:
        """Connect by TCP, where no limit of the transport helps the victim; return its id."""
        peer_id = PeerID.from_base58(victim.run["peer_id"])
        addresses = [address.partition("/p2p/")[0] for address in victim.run["addresses"]]
        self.loop.run(self._p2p().dial(peer_id, addresses, OPEN_DEADLINE_S))
        return peer_id

    def flood(self, victim: Daemon, protocol: str, count: int, *payloads: bytes) -> None:
        """Open so many streams, write the payloads to them in turn, and hold them all."""
        peer_id, gate = self.dial(victim), asyncio.Semaphore(OPENS_AT_ONCE)

        async def one(number: int) -> None:
            async with gate:
                try:
                    _, reader, writer = await self._p2p().open(peer_id, protocol, OPEN_DEADLINE_S)
                except Exception:  # noqa: BLE001 -- however the victim keeps an attacker out
                    self.refused += 1
                    return
                if payloads:
                    writer.write(payloads[number % len(payloads)])
                self.opened.append((reader, writer))

        async def everything() -> None:
            await asyncio.gather(*(one(number) for number in range(count)))

        self.loop.run(everything())

    def answers(self) -> list[bytes]:
        """Return what each held stream brings up to its end."""

        async def read(reader: asyncio.StreamReader) -> bytes:
            with contextlib.suppress(OSError):
                return await asyncio.wait_for(reader.read(), FRAME_DEADLINE_S)
            return b""

        async def everything() -> list[bytes]:
            return await asyncio.gather(*(read(reader) for reader, _ in self.opened))

        return self.loop.run(everything())

    def let_go(self) -> None:
        """Drop all held streams."""

        async def drop() -> None:
            for _, writer in self.opened:
                writer.transport.abort()

        self.loop.run(drop())
        self.opened.clear()

    def stop(self) -> None:
        """Leave the mesh."""
        self.let_go()
        self.peer.stop()

    def _p2p(self) -> Any:
        return self.mesh._keeper.link.p2p


@dataclass(frozen=True)
class Memory:
    """Resident bytes of a daemon and of its p2pd, the engines apart."""

    processes: tuple[psutil.Process, ...]
    before_bytes: int

    @classmethod
    def of(cls, victim: Daemon) -> "Memory":
        """Measure now."""
        processes = (psutil.Process(victim.process.pid), p2pd_of(victim))
        return cls(processes, _resident_bytes(processes))

    def growth_bytes(self) -> int:
        """Return how much they have grown since."""
        return _resident_bytes(self.processes) - self.before_bytes


def p2pd_of(daemon: Daemon) -> psutil.Process:
    """Return a daemon's p2pd."""
    (p2pd,) = [child for child in daemon.family() if child.name() == "p2pd"]
    return p2pd


def _resident_bytes(processes: tuple[psutil.Process, ...]) -> int:
    return sum(process.memory_info().rss for process in processes)

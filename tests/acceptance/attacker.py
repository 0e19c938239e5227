"""A peer that attacks over its own p2pd, past all politeness of our client, and what the victim's processes take."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
from gpunode._loop_thread import LoopThread
from gpunode_benchmarks.flood_streams import Opened, StreamFlood
from gpunode_protocol.mesh._dht_protocol import own_node_id
from gpunode_protocol.mesh._hivemind_api import PeerID, dht_pb2
from gpunode_protocol.mesh.memory_alarm import Measure
from gpunode_protocol.mesh.stream_limits import MAX_STREAMS_PER_PEER

from tests.acceptance.network import Network
from tests.acceptance.processes import Daemon
from tests.acceptance.raw_peer import FRAME_DEADLINE_S, RawPeer

MAX_GROWTH_BYTES = 150_000_000
DHT_STORE = "/gpunode/1/dht/store"
CALL_DEADLINE_S = 20.0
LOOK_EVERY_S = 0.02
MOST = 0.75
"""Of a flood's streams: the victim's guard over p2pd's memory may close the attacker's connection in between."""


@dataclass(frozen=True)
class RawRecord:
    """One record of a store request, as it travels: nothing about it need be true. expires_at: Unix seconds."""

    key_id: bytes
    subkey: bytes
    packed: bytes
    expires_at: float


@dataclass
class Attacker:
    """Opens raw libp2p streams, any number and of any protocol."""

    network: Network
    folder: Path

    def __post_init__(self) -> None:
        """Join the mesh."""
        self.peer = RawPeer(self.network, self.folder)
        self.mesh: Any = self.peer.mesh
        self._flood = self.loop.run(self._make_flood())

    async def _make_flood(self) -> StreamFlood:
        return StreamFlood(self.mesh)

    @property
    def loop(self) -> LoopThread:
        """Where the peer's streams live."""
        return self.peer._loop

    @property
    def opened(self) -> list[Opened]:
        """The streams that are held."""
        return self._flood.opened

    @property
    def refused(self) -> int:
        """How many streams were not even opened."""
        return self._flood.refused

    def dial(self, victim: Daemon) -> PeerID:
        """Connect by TCP, where no limit of the transport helps the victim; return its id."""
        return self.loop.run(self._flood.dial(victim.run["peer_id"], victim.run["addresses"]))

    def dial_tracker(self) -> PeerID:
        """Connect to the network's tracker by TCP; return its id."""
        address = next(address for address in self.network.tracker.run["bootstrap"] if "/tcp/" in address)
        peer_id = address.rpartition("/p2p/")[2]
        return self.loop.run(self._flood.dial(peer_id, [address]))

    async def store(self, peer: PeerID, records: Sequence[RawRecord]) -> list[bool]:
        """Ask a peer that was dialled to keep records, past all checks of our own side; return which it keeps."""
        own = PeerID.from_base58(self.peer.identity.peer_id)
        request = dht_pb2.StoreRequest(
            keys=[record.key_id for record in records],
            subkeys=[record.subkey for record in records],
            values=[record.packed for record in records],
            expiration_time=[record.expires_at for record in records],
            in_cache=[False] * len(records),
            peer=dht_pb2.NodeInfo(node_id=own_node_id(own).to_bytes()),
        )
        async with asyncio.timeout(CALL_DEADLINE_S):
            reply = await self._p2p().call_protobuf_handler(peer, DHT_STORE, request, dht_pb2.StoreResponse)
        return list(reply.store_ok)

    def flood(self, victim: Daemon, protocol: str, count: int, *payloads: bytes) -> None:
        """Open so many streams, write the payloads to them in turn, and hold them all.

        Each was opened or kept out by the victim; most of as many were opened as the victim allows a peer.
        """
        peer, before = self.dial(victim), len(self.opened)
        self.loop.run(self._flood.open(peer, protocol, count, payloads))
        assert len(self.opened) - before >= MOST * min(count, MAX_STREAMS_PER_PEER)

    def answers(self) -> list[bytes]:
        """Return what each held stream brings up to its end; nothing for one that does not end."""
        return [answer or b"" for answer in self.loop.run(self._flood.answers(FRAME_DEADLINE_S))]

    def let_go(self) -> None:
        """Drop all held streams."""

        async def drop() -> None:
            self._flood.let_go()

        self.loop.run(drop())

    def stop(self) -> None:
        """Leave the mesh."""
        self.let_go()
        self.peer.stop()

    def _p2p(self) -> Any:
        return self.mesh._keeper.link.p2p


class Memory:
    """Resident bytes of a daemon and of its p2pd, the engines apart.

    In its context a thread looks every 20 ms, so that a peak counts which is over before anybody asks.
    """

    def __init__(self, victim: Daemon) -> None:
        self._processes = (psutil.Process(victim.process.pid), p2pd_of(victim))
        self._before_bytes = self._peak_bytes = self._resident_bytes()
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    @classmethod
    def of(cls, victim: Daemon) -> "Memory":
        """Measure now."""
        return cls(victim)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()

    def growth_bytes(self) -> int:
        """Return how much they have grown at most since."""
        self._note()
        return self._peak_bytes - self._before_bytes

    def _look(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            self._note()

    def _note(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):  # a p2pd that ended is the business of who counts restarts
            self._peak_bytes = max(self._peak_bytes, self._resident_bytes())

    def _resident_bytes(self) -> int:
        return sum(process.memory_info().rss for process in self._processes)


def is_at_peace(victim: Daemon) -> bool:
    """Return whether its guard over p2pd's memory lets all connections be, as its log says last."""
    told = [line for line in victim.log_path.read_text(errors="replace").splitlines() if "event=p2pd_memory" in line]
    return not told or told[-1].endswith(f"measure={Measure.NOTHING.name}")


def p2pd_of(daemon: Daemon) -> psutil.Process:
    """Return a daemon's p2pd; of a tracker, which has another one to send queued jobs, the one that serves the DHT."""
    found = [child for child in daemon.family() if child.name() == "p2pd"]
    (p2pd,) = [child for child in found if "-dhtServer=1" in child.cmdline()] or found
    return p2pd

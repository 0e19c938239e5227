"""The mesh as the rest of gpunode sees it; hivemind is behind it, and another transport could be."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.mesh.records import DhtRecord, FoundRecords

OPEN_DEADLINE_S = 10.0
"""Default seconds for opening a stream, retries included."""

FIND_DEADLINE_S = 5.0
"""Default seconds for a look-up; what was found until then is returned."""


class MeshStream(Protocol):
    """A two-way byte stream to one peer, authenticated and encrypted by libp2p.

    There is no half-closing: either side's close ends both directions. A cut stream looks like a finished one, so
    the protocol on top must say when it is done.
    """

    @property
    def remote_peer_id(self) -> PeerId:
        """The other side, proven by its key."""
        ...

    @property
    def remote_address(self) -> str:
        """Multiaddr at which this side sees the other one."""
        ...

    @property
    def unsent_bytes(self) -> int:
        """Bytes written that have not left this process."""
        ...

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes, at most ``max_bytes``; ``b""`` at the end of the stream, also when it was cut."""
        ...

    async def write(self, data: bytes) -> None:
        """Send one frame, and wait while the other side is too slow.

        Raises:
            PeerUnreachable: the stream is closed or cut.
        """
        ...

    async def close(self) -> None:
        """Send what is left and end the stream.

        A stream that was served, and in which this side spoke last, first waits up to 2 s for the other side to close:
        a transport may drop what has not been read by the close.
        """
        ...

    def abort(self) -> None:
        """End the stream at once; what is unsent is lost."""
        ...


StreamHandler = Callable[[MeshStream], Awaitable[None]]
"""Serves one incoming stream, which is closed when it returns."""


class MeshState(StrEnum):
    """Where a mesh stands."""

    STOPPED = "stopped"
    JOINED = "joined"  #: knows other peers, or is the first one by intention
    DEGRADED = "degraded"  #: see ``problem``; it goes on trying by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshStatus:
    """A snapshot for `gpunode status` and the metrics.

    Args:
        state: see ``MeshState``.
        problem: what is wrong and what to do, empty if nothing is.
        peers_known: DHT servers in the routing table.
        restarts: times p2pd had to be started again.
        clock_offset_s: seconds by which this clock is ahead of the other peers' (median), None = not measured.
        records_stored: records kept for others.
        records_rejected: records refused, by reason, since the start.
    """

    state: MeshState
    problem: str = ""
    peers_known: int = 0
    restarts: int = 0
    clock_offset_s: float | None = None
    records_stored: int = 0
    records_rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachability:
    """What other peers found when they dialled back.

    Args:
        reachable: whether most of those who answered could connect; None = nobody answered.
        observed_ips: addresses at which they see this peer.
        answers: how many answered.
    """

    reachable: bool | None
    observed_ips: tuple[str, ...] = ()
    answers: int = 0


class Mesh(Protocol):
    """Membership of the peer-to-peer network. All methods belong to the event loop that called ``start``."""

    @property
    def identity(self) -> Identity:
        """This peer's key; known before ``start``."""
        ...

    @property
    def peer_id(self) -> PeerId:
        """This peer's id."""
        ...

    @property
    def status(self) -> MeshStatus:
        """A snapshot of the state."""
        ...

    async def start(self) -> None:
        """Start p2pd and try to join once; without an answer the state is degraded, and it goes on trying.

        Raises:
            MeshError: p2pd cannot be started (P2pdFailed) or used.
        """
        ...

    async def stop(self) -> None:
        """Leave, end p2pd, remove its sockets. Open streams end. May be called twice."""
        ...

    async def wait_joined(self, timeout_s: float) -> bool:
        """Wait until the state is joined, at most ``timeout_s`` seconds; return whether it is."""
        ...

    async def addresses(self) -> tuple[str, ...]:
        """Return the multiaddrs, with ``/p2p/…``, at which others can reach this peer."""
        ...

    async def open_stream(
        self, peer_id: PeerId, protocol: str, addresses: Sequence[str] = (), *, deadline_s: float = OPEN_DEADLINE_S
    ) -> MeshStream:
        """Open a stream to a peer; the caller closes it.

        A stream that ends within 2 s and before its first byte was dropped on the way: it is opened again, up to
        twice, and what was written (up to 64 KiB) is sent again. Requests must bear being sent twice.

        Args:
            peer_id: whom to reach.
            protocol: such as ``/gpunode/1/job``.
            addresses: known multiaddrs of the peer, with or without ``/p2p/…``; without any, libp2p looks for them.
            deadline_s: seconds for everything.

        Raises:
            PeerUnreachable: not reached in time, or it does not serve the protocol.
        """
        ...

    async def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Answer incoming streams of a protocol, also after restarts of p2pd."""
        ...

    async def announce(self, record: DhtRecord) -> int:
        """Store a record at the nodes nearest to its key; return how many stored it (this one included).

        The nodes are remembered per key and refreshed directly; every 10 minutes they are looked up again.

        Raises:
            RecordRejected: the record is larger than 4 KiB, or another peer's.
            MeshUnavailable: p2pd is not running and did not come back within 10 s.
        """
        ...

    async def find(self, key: object, *, deadline_s: float = FIND_DEADLINE_S) -> FoundRecords:
        """Look a key up at its nearest nodes and merge what they say; ``str(key)`` is the key's text.

        Raises:
            MeshUnavailable: p2pd is not running and did not come back within ``deadline_s`` seconds.
        """
        ...

    async def connected_peers(self) -> tuple[PeerId, ...]:
        """Return the peers to which there is a connection now."""
        ...

    async def check_reachability(self) -> Reachability:
        """Ask up to 3 peers to connect back at the address at which they see this one."""
        ...

"""A mesh without a network: it keeps what is announced and says what the test wants of its reachability."""

from collections.abc import Sequence

from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.mesh import (
    DhtRecord,
    FoundRecords,
    MeshConfig,
    MeshState,
    MeshStatus,
    MeshStream,
    MeshUnavailable,
    PeerUnreachable,
    Reachability,
    StreamHandler,
)

from tests.node.world import NODE


class FakeMesh:
    """Implements ``Mesh``."""

    def __init__(self, config: MeshConfig | None = None, *, reachable: bool | None = True) -> None:
        self.config = config
        self.identity: Identity = NODE
        self.peer_id: PeerId = NODE.peer_id
        self.reachable = reachable
        self.running = False
        self.broken = False  #: p2pd is being restarted
        self.announced: list[DhtRecord] = []
        self.handlers: dict[str, StreamHandler] = {}
        self.public = ("/ip4/127.0.0.1/tcp/4001",)

    @property
    def status(self) -> MeshStatus:
        """See ``Mesh``."""
        return MeshStatus(state=MeshState.JOINED if self.running else MeshState.STOPPED, peers_known=3)

    async def start(self) -> None:
        """See ``Mesh``."""
        self.running = True

    async def stop(self) -> None:
        """See ``Mesh``."""
        self.running = False

    async def wait_joined(self, timeout_s: float) -> bool:
        """See ``Mesh``."""
        return self.running and timeout_s >= 0

    async def addresses(self) -> tuple[str, ...]:
        """See ``Mesh``."""
        self._check()
        return tuple(f"{address}/p2p/{self.peer_id}" for address in self.public)

    async def open_stream(
        self, peer_id: PeerId, protocol: str, addresses: Sequence[str] = (), *, deadline_s: float = 1.0
    ) -> MeshStream:
        """See ``Mesh``."""
        raise PeerUnreachable(f"{peer_id} {protocol} {addresses} {deadline_s}")

    async def serve(self, protocol: str, handler: StreamHandler) -> None:
        """See ``Mesh``."""
        self.handlers[protocol] = handler

    async def announce(self, record: DhtRecord) -> int:
        """See ``Mesh``."""
        self._check()
        self.announced.append(record)
        return 3

    async def find(self, key: object, *, deadline_s: float = 1.0) -> FoundRecords:
        """See ``Mesh``."""
        raise PeerUnreachable(f"{key} {deadline_s}")

    async def connected_peers(self) -> tuple[PeerId, ...]:
        """See ``Mesh``."""
        return ()

    async def check_reachability(self) -> Reachability:
        """See ``Mesh``."""
        self._check()
        return Reachability(reachable=self.reachable, observed_ips=("11.0.0.1",), answers=3)

    def _check(self) -> None:
        if self.broken or not self.running:
            raise MeshUnavailable

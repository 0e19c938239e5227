"""A mesh in memory: streams are pipes to node objects, the DHT is a dictionary."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from gpunode_protocol.adverts import Advert
from gpunode_protocol.dht_keys import keys_of_advert
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.mesh import (
    DhtRecord,
    FoundRecords,
    MeshConfig,
    MeshState,
    MeshStatus,
    MeshUnavailable,
    PeerUnreachable,
    Reachability,
    RecordRejected,
    RecordValidator,
    StreamHandler,
    load_or_create_identity,
)
from gpunode_protocol.mesh.advert_records import record_of
from gpunode_protocol.messages import JOB_PROTOCOL
from gpunode_protocol.signing import Signed


class MemoryStream:
    """One end of a pipe, with the contract of ``MeshStream``: a close ends both directions."""

    def __init__(self, remote_peer_id: PeerId, remote_address: str) -> None:
        self.remote_peer_id = remote_peer_id
        self.remote_address = remote_address
        self.other: MemoryStream
        self.closed = False
        self.was_aborted = False
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue()

    @property
    def unsent_bytes(self) -> int:
        """Nothing waits here."""
        return 0

    async def read(self, max_bytes: int = 65536) -> bytes:  # noqa: ARG002 -- the contract's signature
        """Return what was written at once; ``b""`` at the end."""
        if self.closed and self._incoming.empty():
            return b""
        return await self._incoming.get()

    async def write(self, data: bytes) -> None:
        """Send."""
        if self.closed:
            raise PeerUnreachable
        self.other._incoming.put_nowait(data)

    async def close(self) -> None:
        """End both directions."""
        for end in (self, self.other):
            if not end.closed:
                end.closed = True
                end._incoming.put_nowait(b"")

    def abort(self) -> None:
        """End both directions at once."""
        self.was_aborted = True
        for end in (self, self.other):
            if not end.closed:
                end.closed = True
                end._incoming.put_nowait(b"")


@dataclass
class MemoryNetwork:
    """Who is there: handlers by peer and protocol, and the DHT's records.

    unanswered: peers to which a job's stream is never opened, nor refused. find_delay_s: what looking a key up takes.
    """

    handlers: dict[tuple[PeerId, str], Callable[[MemoryStream], Awaitable[None]]] = field(default_factory=dict)
    records: dict[str, list[DhtRecord]] = field(default_factory=lambda: defaultdict(list))
    dht_is_down: bool = False
    address_of: dict[PeerId, str] = field(default_factory=dict)
    unanswered: set[PeerId] = field(default_factory=set)
    opened: Counter[tuple[PeerId, str]] = field(default_factory=Counter)
    looked_up: list[str] = field(default_factory=list)
    serving: set[asyncio.Task[None]] = field(default_factory=set)  #: named by the peer that serves
    find_delay_s: Callable[[str], float] = field(default=lambda _key: 0.0)

    def announce(self, advert: Signed[Advert], shard_bits: int = 0) -> None:
        """Store an advert under all its keys."""
        body = advert.body
        for key in keys_of_advert(
            body.network, body.model.task, body.model.name, body.region, body.peer, (shard_bits,)
        ):
            self.records[str(key)].append(record_of(key, advert))


class MemoryMesh:
    """One client's membership."""

    def __init__(
        self, network: MemoryNetwork, config: MeshConfig, validator: RecordValidator, clock: Callable[[], float]
    ) -> None:
        self.network = network
        self.config = config
        self.identity: Identity = load_or_create_identity(config.identity_path)
        self.is_running = False
        self._validator = validator
        self._clock = clock

    @property
    def peer_id(self) -> PeerId:
        """This peer's id."""
        return self.identity.peer_id

    @property
    def status(self) -> MeshStatus:
        """Joined while it runs."""
        return MeshStatus(state=MeshState.JOINED if self.is_running else MeshState.STOPPED)

    async def start(self) -> None:
        """Join."""
        self.is_running = True

    async def stop(self) -> None:
        """Leave; streams under way are cut."""
        self.is_running = False
        for task in list(self.network.serving):
            task.cancel()
        await asyncio.gather(*self.network.serving, return_exceptions=True)

    async def wait_joined(self, timeout_s: float) -> bool:  # noqa: ARG002 -- the contract's signature
        """Joined at once."""
        return self.is_running

    async def addresses(self) -> tuple[str, ...]:
        """A client listens nowhere."""
        return ()

    async def open_stream(
        self,
        peer_id: PeerId,
        protocol: str,
        addresses: Sequence[str] = (),  # noqa: ARG002 -- the contract's signature
        *,
        deadline_s: float = 10.0,
    ) -> MemoryStream:
        """Connect to a node's handler."""
        self.network.opened[peer_id, protocol] += 1
        if protocol == JOB_PROTOCOL and peer_id in self.network.unanswered:
            await asyncio.sleep(deadline_s)
            raise PeerUnreachable
        handler = self.network.handlers.get((peer_id, protocol))
        if handler is None or not self.is_running:
            raise PeerUnreachable
        ours = MemoryStream(peer_id, self.network.address_of.get(peer_id, "/ip4/127.0.0.1/tcp/1"))
        theirs = MemoryStream(self.peer_id, "/memory")
        ours.other, theirs.other = theirs, ours
        task = asyncio.create_task(_serve(handler, theirs), name=peer_id)
        self.network.serving.add(task)
        task.add_done_callback(self.network.serving.discard)
        return ours

    async def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Clients serve nothing."""
        raise NotImplementedError

    async def announce(self, record: DhtRecord) -> int:
        """Clients announce nothing."""
        raise NotImplementedError

    async def find(self, key: object, *, deadline_s: float = 5.0) -> FoundRecords:
        """Return the valid records of a key, none if that takes too long."""
        self.network.looked_up.append(str(key))
        if self.network.dht_is_down:
            raise MeshUnavailable
        if delay_s := self.network.find_delay_s(str(key)):
            await asyncio.sleep(min(delay_s, deadline_s))
            if delay_s > deadline_s:
                return FoundRecords(key=str(key), records=(), replicas_answered=0, dropped={})
        valid, dropped = [], Counter[str]()
        for record in self.network.records.get(str(key), ()):
            try:
                valid.append(
                    self._validator.validate(record.key, record.subkey, record.value, record.expires_at, self._clock())
                )
            except RecordRejected as error:
                dropped[error.reason] += 1
        return FoundRecords(key=str(key), records=tuple(valid), replicas_answered=1, dropped=dropped)

    async def connected_peers(self) -> tuple[PeerId, ...]:
        """Nobody."""
        return ()

    async def check_reachability(self) -> Reachability:
        """Nobody was asked."""
        return Reachability(reachable=None)


async def _serve(handler: Callable[[MemoryStream], Awaitable[None]], stream: MemoryStream) -> None:
    try:
        await handler(stream)
    finally:
        await stream.close()

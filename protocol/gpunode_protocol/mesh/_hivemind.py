"""The mesh on hivemind and p2pd; see ``interface.Mesh`` for the contract of every method."""

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, TypeVar

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import PeerId, parse_peer_id
from gpunode_protocol.keyfile import load_or_create_identity
from gpunode_protocol.mesh import dialback
from gpunode_protocol.mesh._dht_node import ReplicaMemory
from gpunode_protocol.mesh._dht_protocol import peer_text
from gpunode_protocol.mesh._hivemind_api import PeerID
from gpunode_protocol.mesh._hivemind_attach import address_text
from gpunode_protocol.mesh._hivemind_guard import MemoryGuard
from gpunode_protocol.mesh._hivemind_keeper import LinkKeeper
from gpunode_protocol.mesh._hivemind_link import Lasting, Link
from gpunode_protocol.mesh._hivemind_membership import Membership
from gpunode_protocol.mesh._hivemind_streams import (
    MAX_OPENS_IN_FLIGHT,
    HivemindStream,
    IncomingStreams,
    OpenedStream,
    retry_delay,
)
from gpunode_protocol.mesh._hivemind_wear import ConnectionWear
from gpunode_protocol.mesh.config import MeshConfig
from gpunode_protocol.mesh.errors import MeshError, MeshUnavailable, PeerUnreachable, StreamDropped
from gpunode_protocol.mesh.interface import (
    FIND_DEADLINE_S,
    OPEN_DEADLINE_S,
    MeshState,
    MeshStatus,
    Reachability,
    StreamHandler,
)
from gpunode_protocol.mesh.known_peers import KnownPeers
from gpunode_protocol.mesh.multiaddrs import are_loopback, first_tcp_port
from gpunode_protocol.mesh.record_store import RecordStore
from gpunode_protocol.mesh.records import DhtRecord, FoundRecords, RecordValidator
from gpunode_protocol.mesh.runtime_dir import RuntimeDir, default_parents
from gpunode_protocol.mesh.stream_limits import StreamLimits

T = TypeVar("T")

_log = logging.getLogger(__name__)

IMPATIENT_REJOIN_S = 5.0
"""Seconds between attempts to join while the mesh is degraded, if the configured interval is longer."""

OPEN_RETRIES = 2
CONNECTED_S = 2.0
"""A peer to which a stream was opened so lately is not dialled before the next one: p2pd keeps the connection.

Less than a node needs to start again: to one that came back at other addresses p2pd would try the old ones first, and
QUIC gives up after five seconds.
"""
DIALBACK_PEERS = 3
_LINK_WAIT_S = 10.0
_KNOWN_PEERS_FILE = "known_peers.json"


class HivemindMesh:
    """Membership of the mesh through one p2pd process.

    Args:
        config: see ``MeshConfig``.
        validator: judges every record that is stored here or found elsewhere.

    Raises:
        IdentityFileError: the key file cannot be used.
        MeshError: a bootstrap address cannot be read.
    """

    def __init__(self, config: MeshConfig, validator: RecordValidator) -> None:
        self._config = config
        self._validator = validator
        self.identity = load_or_create_identity(config.identity_path)
        self.peer_id: PeerId = self.identity.peer_id
        known = KnownPeers(config.state_dir / _KNOWN_PEERS_FILE if config.state_dir else None)
        self._membership = Membership(config, self.peer_id, known)
        self._handlers: dict[str, StreamHandler] = {}
        self._limits = StreamLimits(time.monotonic)
        self._incoming = IncomingStreams(self._limits, self._disconnect)
        self._store = RecordStore()
        self._rejected: Counter[str] = Counter()
        self._gate = asyncio.Semaphore(MAX_OPENS_IN_FLIGHT)
        self._wear = ConnectionWear()
        self._connections: dict[PeerId, tuple[Link, float]] = {}  # p2pd's, and when one was last used
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._keeper: LinkKeeper | None = None
        self._runtime_dir: RuntimeDir | None = None
        self._maintenance: asyncio.Task[None] | None = None
        self._guarding: asyncio.Task[NoReturn] | None = None
        if not config.client_mode:
            self._handlers[dialback.PROTOCOL] = dialback.DialbackService(time.monotonic).serve

    @property
    def status(self) -> MeshStatus:
        """A snapshot of the state."""
        if self._keeper is None:
            return MeshStatus(state=MeshState.STOPPED)
        link = self._keeper.link
        problem = self._membership.problem(link)
        return MeshStatus(
            state=MeshState.DEGRADED if problem else MeshState.JOINED,
            problem=problem,
            peers_known=len(link.protocol.routing_table.uid_to_peer_id) if link else 0,
            restarts=self._keeper.restarts,
            clock_offset_s=self._membership.clock_offset_s,
            records_stored=len(self._store),
            records_rejected=dict(self._rejected),
        )

    async def start(self) -> None:
        """Start p2pd and try to join once."""
        if self._keeper is not None:
            return
        ends_at_s = asyncio.get_running_loop().time() + self._config.startup_timeout_s
        self._runtime_dir = RuntimeDir.create(default_parents(self._config.state_dir))
        lasting = Lasting(
            self.identity,
            self._runtime_dir,
            self._store,
            self._validator,
            ReplicaMemory(),
            itertools.count(),
            self._rejected,
        )
        self._keeper = LinkKeeper(self._config, lasting, self._prepare, self._wake.set)
        try:
            await self._keeper.start(self._config.startup_timeout_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(ends_at_s):
                    await self._refresh(only_greet=self._config.client_mode)
        except BaseException:
            await self.stop()
            raise
        if problem := self.status.problem:
            _log.warning("the mesh is degraded: %s", problem, extra={"event": "mesh_degraded"})
        self._maintenance = asyncio.create_task(self._maintain())
        guard = MemoryGuard(self._current_link, self._busy_peers, self._config.p2pd_memory_max_bytes)
        self._guarding = asyncio.create_task(guard.run())

    async def stop(self) -> None:
        """Leave, end p2pd, remove its sockets."""
        own_tasks = [task for task in (self._maintenance, self._guarding) if task is not None]
        for task in own_tasks:
            task.cancel()
        await asyncio.gather(*own_tasks, return_exceptions=True)
        self._maintenance = self._guarding = None
        await self._incoming.stop()
        if self._keeper is not None:
            keeper, self._keeper = self._keeper, None
            await keeper.stop()
        if self._runtime_dir is not None:
            self._runtime_dir.remove()
            self._runtime_dir = None

    async def wait_joined(self, timeout_s: float) -> bool:
        """Wait until the state is joined."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self.status.state is MeshState.JOINED)
        return self.status.state is MeshState.JOINED

    async def addresses(self) -> tuple[str, ...]:
        """Return our multiaddrs with ``/p2p/…``."""
        return tuple(f"{address}/p2p/{self.peer_id}" for address in await self._listen_addresses())

    async def open_stream(
        self, peer_id: PeerId, protocol: str, addresses: Sequence[str] = (), *, deadline_s: float = OPEN_DEADLINE_S
    ) -> HivemindStream:
        """Open a stream to a peer."""
        peer = PeerID.from_base58(parse_peer_id(peer_id))
        transports = [address.removesuffix(f"/p2p/{peer_id}") for address in addresses]

        async def open_once() -> OpenedStream:
            async with self._gate:
                link = await self._link(deadline_s)
                if self._wear.renew_now(peer_id):
                    self._connections.pop(peer_id, None)
                    await link.p2p.disconnect(peer)
                with self._wear.opening(peer_id):
                    opened = await self._open_on_connection(link, peer_id, protocol, deadline_s)
                    if opened is None:
                        if transports:
                            await link.p2p.dial(peer, transports, deadline_s)
                        opened = await link.p2p.open(peer, protocol, deadline_s)
                self._connections[peer_id] = link, asyncio.get_running_loop().time()
                self._wear.opened(peer_id, address_text(opened[0].addr))
                return opened

        async def open_with_retries() -> OpenedStream:
            for _ in range(OPEN_RETRIES):
                with contextlib.suppress(StreamDropped):
                    return await open_once()
                await self._recover()
            return await open_once()

        async def open_in_time() -> OpenedStream:
            try:
                async with asyncio.timeout(deadline_s):
                    return await open_with_retries()
            except (TimeoutError, MeshUnavailable) as error:
                raise PeerUnreachable(f"{peer_id} was not reached within {deadline_s:.1f} s.") from error

        stream = HivemindStream(await open_in_time(), reopen=open_in_time)
        self._wear.watch(peer_id, stream)
        return stream

    async def _open_on_connection(
        self, link: Link, peer_id: PeerId, protocol: str, deadline_s: float
    ) -> OpenedStream | None:
        """Open a stream on the connection that was there a moment ago; None if there was none, or it has gone."""
        known_link, used_at = self._connections.get(peer_id, (None, 0.0))
        if known_link is not link or asyncio.get_running_loop().time() - used_at > CONNECTED_S:
            return None
        try:
            return await link.p2p.open(PeerID.from_base58(peer_id), protocol, deadline_s)
        except PeerUnreachable:
            self._connections.pop(peer_id, None)
            return None

    async def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Answer incoming streams of a protocol."""
        self._handlers[protocol] = handler
        if self._keeper is not None and self._keeper.link is not None:
            await self._register(self._keeper.link, protocol)

    async def announce(self, record: DhtRecord) -> int:
        """Store a record at the nodes nearest to its key."""
        return await (await self._link()).node.announce(record)

    async def find(self, key: object, *, deadline_s: float = FIND_DEADLINE_S) -> FoundRecords:
        """Look a key up."""
        merge = await (await self._link(deadline_s)).node.find(str(key), deadline_s)
        return FoundRecords(
            key=str(key),
            records=merge.records(),
            replicas_answered=merge.replicas_answered,
            dropped=dict(merge.dropped),
        )

    async def connected_peers(self) -> tuple[PeerId, ...]:
        """Return the peers to which there is a connection now."""
        peers = await self._ask_daemon(lambda link: link.p2p.peers())
        return tuple(dict.fromkeys(PeerId(peer_text(peer)) for peer, _ in peers))

    async def check_reachability(self) -> Reachability:
        """Ask up to 3 peers to connect back."""
        addresses = await self._listen_addresses()
        port = first_tcp_port(addresses)
        if port is None:
            return Reachability(reachable=False)
        link = await self._link()
        peers = [peer for _, peer in link.protocol.known_nodes(link.node.node_id, 4 * DIALBACK_PEERS)]
        chosen = random.sample(peers, min(DIALBACK_PEERS, len(peers)))
        answers = await asyncio.gather(*(self._ask_to_dial_back(PeerId(peer_text(peer)), port) for peer in chosen))
        told = (answer for answer in answers if answer is not None)
        beside_bootstrap = any(are_loopback([address]) for address in self._config.bootstrap)
        return dialback.judge(told, loopback_only=beside_bootstrap and are_loopback(addresses))

    async def _ask_to_dial_back(self, peer_id: PeerId, port: int) -> tuple[bool, str] | None:
        try:
            async with asyncio.timeout(dialback.ANSWER_TIMEOUT_S):
                stream = await self.open_stream(peer_id, dialback.PROTOCOL, deadline_s=dialback.ANSWER_TIMEOUT_S)
                try:
                    return await dialback.ask(stream, port)
                finally:
                    stream.abort()
        except (GpunodeError, TimeoutError) as error:
            _log.info("%s did not dial back: %s", peer_id, error, extra={"event": "dialback_failed"})
            return None

    async def _listen_addresses(self) -> list[str]:
        return await self._ask_daemon(lambda link: link.p2p.listen_addresses())

    async def _ask_daemon(self, question: Callable[[Link], Awaitable[T]]) -> T:
        """Ask p2pd; if it dies just now, ask its successor."""
        try:
            return await question(await self._link())
        except StreamDropped:
            await self._recover()
            return await question(await self._link())

    async def _recover(self) -> None:
        """Wait until p2pd's death is noticed. Where its sockets were deleted, a client's is started again.

        Not a p2pd that serves: its streams live on, and what becomes of a node without its folder the node decides.
        """
        if self._keeper is not None and not self._handlers:
            await self._keeper.replace_cut_off()
        await retry_delay()

    async def _link(self, timeout_s: float = _LINK_WAIT_S) -> Link:
        if self._keeper is None:
            raise MeshUnavailable("The mesh is not running; start it first.")
        return await self._keeper.current(timeout_s)

    def _current_link(self) -> Link | None:
        return self._keeper.link if self._keeper else None

    def _busy_peers(self) -> frozenset[PeerId]:
        return self._limits.busy_peers | self._wear.busy_peers

    async def _disconnect(self, peer_id: PeerId) -> None:
        if (link := self._current_link()) is not None:
            await link.p2p.disconnect(PeerID.from_base58(peer_id))

    async def _prepare(self, link: Link) -> None:
        """Let a new p2pd know our stream handlers."""
        for protocol in self._handlers:
            await self._register(link, protocol)

    async def _register(self, link: Link, protocol: str) -> None:
        handler = self._incoming.served_by(self._handlers[protocol])
        await link.p2p.add_binary_stream_handler(protocol, handler)

    async def _maintain(self) -> None:
        is_whole = not self._config.client_mode  # nobody looks for a client: it fills its routing table a little later
        while True:
            joined = is_whole and self.status.state is MeshState.JOINED
            is_whole, interval_s = True, self._config.rejoin_interval_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s if joined else min(interval_s, IMPATIENT_REJOIN_S)):
                    await self._wake.wait()
            self._wake.clear()
            await self._refresh()

    async def _refresh(self, *, only_greet: bool = False) -> None:
        link = self._current_link()
        if link is not None:
            try:
                await (self._membership.greet(link) if only_greet else self._membership.refresh(link))
            except MeshError as error:
                _log.info("the mesh could not be refreshed: %s", error, extra={"event": "mesh_refresh_failed"})
            except Exception:  # noqa: BLE001 -- a bug here must not end the maintenance for good
                _log.exception("refreshing the mesh failed", extra={"event": "mesh_refresh_failed"})
            link.p2p.forget_finished_calls()
        self._store.drop_expired(time.time())
        async with self._changed:
            self._changed.notify_all()

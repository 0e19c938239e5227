"""Joining the mesh, staying in it, and saying what is wrong with it.

hivemind joins once, and p2pd redials bootstrap peers every 15 minutes only; a node that lost its mesh for a minute
must come back by itself.
"""

import asyncio
import logging
import statistics
from collections.abc import Iterable

from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh._dht_protocol import peer_text
from gpunode_protocol.mesh._hivemind_api import PeerID
from gpunode_protocol.mesh._hivemind_link import Link
from gpunode_protocol.mesh.config import MeshConfig
from gpunode_protocol.mesh.errors import MeshError
from gpunode_protocol.mesh.known_peers import KnownPeers
from gpunode_protocol.mesh.multiaddrs import ip_of, split_peer
from gpunode_protocol.mesh.records import node_id_of

_log = logging.getLogger(__name__)

MAX_CLOCK_OFFSET_S = 3.0
"""hivemind's limit, beyond which stock nodes refuse each other."""

GREET_TIMEOUT_S = 10.0
POPULATE_DEADLINE_S = 5.0


class Membership:
    """This peer's place among the others.

    Args:
        config: names the bootstrap peers.
        own_peer_id: this peer.
        known: peers met before, asked when no bootstrap peer answers.

    Raises:
        MeshError: a bootstrap address without peer id.
    """

    def __init__(self, config: MeshConfig, own_peer_id: PeerId, known: KnownPeers) -> None:
        self._bootstrap = {peer: address for address in config.bootstrap for _, peer in [split_peer(address)]}
        self._bootstrap.pop(own_peer_id, None)
        self._own_peer_id = own_peer_id
        self._known = known
        self._offsets_s: dict[str, float] = {}

    async def refresh(self, link: Link) -> None:
        """Greet the bootstrap peers that are not connected, fill the routing table, forget who is gone."""
        missing = [
            address
            for peer, address in self._bootstrap.items()
            if PeerID.from_base58(peer) not in link.protocol.routing_table
        ]
        await self._greet_all(link, missing)
        if not link.protocol.known_nodes(link.node.node_id, 1):
            await self._greet_all(link, self._known.addresses())
        await link.node.find_nearest(node_id_of(self._own_peer_id), POPULATE_DEADLINE_S)
        await self._remember_peers(link)

    @property
    def clock_offset_s(self) -> float | None:
        """Seconds by which our clock is ahead of the others' (median), None = not measured."""
        return statistics.median(self._offsets_s.values()) if self._offsets_s else None

    def problem(self, link: Link | None) -> str:
        """Say what is wrong and what to do; empty if nothing is."""
        if link is None:
            return "The libp2p daemon p2pd has ended and is being restarted."
        if self._bootstrap and not link.protocol.known_nodes(link.node.node_id, 1):
            tried = ", ".join(self._bootstrap.values())
            return f"No peer of the mesh answers (tried {tried}). Check the network; trying again."
        offset_s = self.clock_offset_s
        if offset_s is not None and abs(offset_s) > MAX_CLOCK_OFFSET_S:
            direction = "ahead of" if offset_s > 0 else "behind"
            return f"This computer's clock is {abs(offset_s):.1f} s {direction} the other peers'. Set it, e.g. by NTP."
        return ""

    async def _greet_all(self, link: Link, addresses: Iterable[str]) -> None:
        await asyncio.gather(*(self._greet(link, address) for address in addresses))

    async def _greet(self, link: Link, address: str) -> None:
        transport, peer_id = split_peer(address)
        peer = PeerID.from_base58(peer_id)
        if peer_id == self._own_peer_id:
            return
        try:
            await link.p2p.dial(peer, [transport], GREET_TIMEOUT_S)
        except MeshError as error:
            _log.info("%s does not answer: %s", address, error, extra={"event": "bootstrap_unreachable"})
            return
        offset_s = await link.protocol.greet(peer)
        if offset_s is not None:
            self._offsets_s[peer_id] = offset_s

    async def _remember_peers(self, link: Link) -> None:
        """Keep the addresses of connected DHT servers for a day when the bootstrap peers are gone."""
        self._known.remember(
            f"{address}/p2p/{peer_text(peer)}"
            for peer, address in await link.p2p.peers()
            if peer in link.protocol.routing_table and ip_of(address)
        )
        try:
            await asyncio.to_thread(self._known.save)
        except OSError as error:
            _log.warning("known peers cannot be saved: %s", error, extra={"event": "known_peers_unsaved"})

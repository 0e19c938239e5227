"""Joining the mesh, staying in it, and saying what is wrong with it.

hivemind joins once, and p2pd redials bootstrap peers every 15 minutes only; a node that lost its mesh for a minute
must come back by itself.
"""

import asyncio
import logging
import statistics
from collections.abc import Iterable, Mapping

from gpunode_protocol.clock_offset import CLOCK_FIX, WORTH_A_WORD_S, describe_offset
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

GREET_TIMEOUT_S = 10.0
STRAGGLER_TIMEOUT_S = 1.0
"""Once one peer has answered, the others get this long; who is missing then is greeted at the next refresh."""
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
        self._bootstrap = _transports_by_peer(config.bootstrap)
        self._bootstrap.pop(own_peer_id, None)
        self._own_peer_id = own_peer_id
        self._known = known
        self._offsets_s: dict[str, float] = {}

    async def refresh(self, link: Link) -> None:
        """Greet the bootstrap peers that are not connected, fill the routing table, forget who is gone."""
        await self.greet(link)
        await link.node.find_nearest(node_id_of(self._own_peer_id), POPULATE_DEADLINE_S)
        await self._remember_peers(link)

    async def greet(self, link: Link) -> None:
        """Greet the bootstrap peers that are not connected: with one of them, look-ups find everybody else.

        Peers met before are greeted too while nobody is known: a dead bootstrap peer takes seconds to be given up.
        While our clock is off, all bootstrap peers are greeted again: it may have been set.
        """
        missing = {
            peer: transports
            for peer, transports in self._bootstrap.items()
            if self._clock_is_off or PeerID.from_base58(peer) not in link.protocol.routing_table
        }
        if not link.protocol.known_nodes(link.node.node_id, 1):
            missing = {**_transports_by_peer(self._known.addresses()), **missing}
        await self._greet_all(link, missing)

    @property
    def clock_offset_s(self) -> float | None:
        """Seconds by which our clock is ahead of the others' (median), None = not measured."""
        return statistics.median(self._offsets_s.values()) if self._offsets_s else None

    def problem(self, link: Link | None) -> str:
        """Say what is wrong and what to do; empty if nothing is."""
        if link is None:
            return "The libp2p daemon p2pd has ended and is being restarted."
        if self._bootstrap and not link.protocol.known_nodes(link.node.node_id, 1):
            addresses = (f"{at}/p2p/{peer}" for peer, transports in self._bootstrap.items() for at in transports)
            tried = ", ".join(addresses)
            return f"No peer of the mesh answers (tried {tried}). Check the network; trying again."
        if self.clock_offset_s is not None and self._clock_is_off:
            told = describe_offset(self.clock_offset_s, "the other peers'")
            return f"{told}. {CLOCK_FIX}."
        return ""

    @property
    def _clock_is_off(self) -> bool:
        return abs(self.clock_offset_s or 0.0) > WORTH_A_WORD_S

    async def _greet_all(self, link: Link, transports_by_peer: Mapping[str, list[str]]) -> None:
        """Greet all at once; return when all have answered or failed, or soon after the first has answered."""
        waiting = {
            asyncio.create_task(self._greet(link, peer_id, transports))
            for peer_id, transports in transports_by_peer.items()
            if peer_id != self._own_peer_id
        }
        try:
            answered = False
            while waiting:
                timeout_s = STRAGGLER_TIMEOUT_S if answered else None
                done, waiting = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                answered = answered or any(task.result() for task in done)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _greet(self, link: Link, peer_id: str, transports: list[str]) -> bool:
        """Dial a peer at all its addresses and exchange clocks; return whether it answered."""
        peer = PeerID.from_base58(peer_id)
        try:
            await link.p2p.dial(peer, transports, GREET_TIMEOUT_S)
        except MeshError as error:
            _log.info("%s does not answer: %s", peer_id, error, extra={"event": "bootstrap_unreachable"})
            return False
        offset_s = await link.protocol.greet(peer)
        if offset_s is None:
            return False
        self._offsets_s[peer_id] = offset_s
        return True

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


def _transports_by_peer(addresses: Iterable[str]) -> dict[str, list[str]]:
    """Return the transports of full addresses (``…/p2p/<peer>``), by peer id, in order."""
    transports: dict[str, list[str]] = {}
    for address in addresses:
        transport, peer_id = split_peer(address)
        transports.setdefault(peer_id, []).append(transport)
    return transports

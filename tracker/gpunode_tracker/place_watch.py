"""Contradictions between stated places and measured round trips, as heartbeats bring them. In memory, like the index.

Only contradictions are kept: what is possible proves nothing. Each is about what was said when it was measured. So who
moves is not held to his old place, and who corrects a wrong one is believed again once the observers measured anew, or
after a day. It does not go by what the tracker is told now: a node might tell the DHT another place.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gpunode_protocol.doubts import Contradiction, doubtful_nodes
from gpunode_protocol.geography import Position
from gpunode_protocol.identity import PeerId
from gpunode_protocol.physics import Claim, contradicts
from gpunode_protocol.tracker_api import MAX_DOUBTFUL_PLACES, RoundTrip

from gpunode_tracker.storage.nodes import StoredNode

REMEMBERED_S: Final = 24 * 3600
"""An observer probes five nodes in 5 minutes, so in a large network it seldom meets the same one again."""
MAX_OBSERVERS_OF_NODE: Final = 64
"""Observers remembered of one node; beyond that the oldest of the account that has most of them is forgotten."""


@dataclass(frozen=True)
class Observer:
    """A node that measures, and where it says that it is."""

    node: StoredNode
    position: Position


@dataclass(frozen=True, slots=True)
class _Told:
    claim: Claim
    position: Position  # of the observer
    contradiction: Contradiction
    heard_at: float


class PlaceWatch:
    """What observers told of nodes, by node and observer. All instants are Unix seconds."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, _Told]] = {}
        self._doubtful: Mapping[PeerId, int] = {}

    @property
    def doubtful(self) -> tuple[PeerId, ...]:
        """Nodes whose stated place is doubtful, most contradicted first, at most 256; see ``judge``."""
        return tuple(islice(self._doubtful, MAX_DOUBTFUL_PLACES))

    def is_doubtful(self, peer: str) -> bool:
        """Whether a node is among them."""
        return peer in self._doubtful

    def note(self, observer: Observer, trips: Iterable[RoundTrip], nodes: Mapping[str, StoredNode], now: float) -> None:
        """Take what an observer measured.

        Args:
            observer: without an account it is not heard: a key costs nothing.
            trips: of a heartbeat.
            nodes: those of the trips that are registered here, by peer id.
        """
        account = observer.node.account_id
        if account is None:
            return
        self._forget_if_moved(observer)
        for trip in trips:
            peer = nodes.get(trip.peer)
            if peer is not None and trip.peer != observer.node.peer:
                self._note(observer, account, trip, peer, now)

    def judge(self, now: float) -> tuple[PeerId, ...]:
        """Forget what is old, judge anew, and return the nodes that were not doubtful before."""
        for peer, told in tuple(self._told.items()):
            kept = {observer: item for observer, item in told.items() if now - item.heard_at < REMEMBERED_S}
            self._told[peer] = kept
            if not kept:
                del self._told[peer]
        before = self._doubtful
        self._doubtful = doubtful_nodes(item.contradiction for told in self._told.values() for item in told.values())
        return tuple(peer for peer in self._doubtful if peer not in before)

    def _forget_if_moved(self, observer: Observer) -> None:
        """Drop what an observer told while it said that it was elsewhere: the error may have been its own."""
        for told in self._told.values():
            known = told.get(observer.node.peer)
            if known is not None and known.position != observer.position:
                del told[observer.node.peer]

    def _note(self, observer: Observer, account: str, trip: RoundTrip, peer: StoredNode, now: float) -> None:
        claim = claim_of(trip)
        told = self._told.get(peer.peer, {})
        known = told.get(observer.node.peer)
        allowance_km = observer.node.allowance_km(observer.position)
        if claim.position is not None:
            allowance_km += peer.allowance_km(claim.position)
        if not contradicts(claim, observer.position, trip.rtt_ms, allowance_km=allowance_km):
            if known is not None and known.claim != claim:
                del told[observer.node.peer]  # it says something else now, which is possible
            return
        contradiction = Contradiction(PeerId(observer.node.peer), account, trip.peer, peer.account_id)
        told[observer.node.peer] = _Told(claim, observer.position, contradiction, now)
        if len(told) > MAX_OBSERVERS_OF_NODE:
            _forget_one(told)
        self._told[peer.peer] = told


def claim_of(trip: RoundTrip) -> Claim:
    """Return where the measured node said that it is."""
    if trip.latitude is None or trip.longitude is None:
        return Claim(trip.region)
    return Claim(trip.region, Position(trip.latitude, trip.longitude))


def _forget_one(told: dict[str, _Told]) -> None:
    """Forget the oldest of the loudest account, so that no account drowns the others."""
    ((loudest, _),) = Counter(item.contradiction.account for item in told.values()).most_common(1)
    of_it = [observer for observer, item in told.items() if item.contradiction.account == loudest]
    del told[min(of_it, key=lambda observer: told[observer].heard_at)]

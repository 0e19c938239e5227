"""How many incoming streams may be open at once: of a peer, of an address, in all. Pure.

A peer whose further streams are cut again and again sits out: its connection is closed, and closed again when it comes
back, for 15 s at first, so that a flood costs the flooder a handshake each time.
"""

from collections import Counter
from collections.abc import Callable
from enum import Enum, auto

from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh.rate_limit import PeerBench, PeerRateLimit

MAX_STREAMS_PER_PEER = 512
"""Those included that a handler is just refusing with a reason, which takes up to 2 s each."""

MAX_STREAMS_PER_ADDRESS = 1024
"""Peer ids cost nothing; see ``multiaddrs.origin_of``."""

MAX_STREAMS = 2048

CUTS_PER_S, CUTS_BURST = 32.0, 256.0
"""Streams of one peer that are cut before it sits out."""

DISCONNECTS_PER_S = 1.0
"""Of one peer that sits out."""


class Verdict(Enum):
    """What becomes of an incoming stream."""

    SERVE = auto()
    CUT = auto()
    DISCONNECT = auto()  #: cut, and the peer's connections are closed


class StreamLimits:
    """Counts open streams.

    Args:
        clock_s: monotonic seconds.
        max_per_peer, max_per_address, max_in_all: streams open at once.
    """

    def __init__(
        self,
        clock_s: Callable[[], float],
        *,
        max_per_peer: int = MAX_STREAMS_PER_PEER,
        max_per_address: int = MAX_STREAMS_PER_ADDRESS,
        max_in_all: int = MAX_STREAMS,
    ) -> None:
        self._clock_s = clock_s
        self._max_per_peer = max_per_peer
        self._max_per_address = max_per_address
        self._max_in_all = max_in_all
        self._of_peer: Counter[PeerId] = Counter()
        self._of_origin: Counter[str] = Counter()
        self._cuts = PeerRateLimit(rate_per_s=CUTS_PER_S, burst=CUTS_BURST)
        self._disconnects = PeerRateLimit(rate_per_s=DISCONNECTS_PER_S, burst=1)
        self._bench = PeerBench()

    @property
    def busy_peers(self) -> frozenset[PeerId]:
        """Peers with open streams."""
        return frozenset(self._of_peer)

    def enter(self, peer: PeerId, origin: str) -> Verdict:
        """Judge a new stream; one that is served counts until ``leave``."""
        now = self._clock_s()
        if self._bench.is_benched(peer, now):
            return Verdict.DISCONNECT if self._disconnects.allow(peer, now) else Verdict.CUT
        if (
            self._of_peer[peer] < self._max_per_peer
            and self._of_origin[origin] < self._max_per_address
            and self._of_peer.total() < self._max_in_all
        ):
            self._of_peer[peer] += 1
            self._of_origin[origin] += 1
            return Verdict.SERVE
        if self._cuts.allow(peer, now):
            return Verdict.CUT
        self._bench.failed(peer, now)
        self._disconnects.allow(peer, now)
        return Verdict.DISCONNECT

    def leave(self, peer: PeerId, origin: str) -> None:
        """A served stream has ended."""
        self._of_peer -= Counter([peer])
        self._of_origin -= Counter([origin])

"""Token buckets, one per peer, in bounded memory."""

from collections import OrderedDict


class PeerRateLimit:
    """Allows each peer ``burst`` units at once and ``rate_per_s`` units a second on average.

    Args:
        rate_per_s: units per second, > 0.
        burst: units, > 0.
        max_peers: peers remembered; beyond it the one not seen for longest is forgotten.
    """

    def __init__(self, *, rate_per_s: float, burst: float, max_peers: int = 4096) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._max_peers = max_peers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # peer: (units left, at)

    def allow(self, peer_id: str, now_s: float, units: float = 1) -> bool:
        """Whether ``units`` may be spent now; takes them if so.

        Args:
            peer_id: who asks.
            now_s: monotonic seconds.
            units: what it costs.
        """
        left = self._left(peer_id, now_s)
        allowed = left >= units
        self._keep(peer_id, left - units if allowed else left, now_s)
        return allowed

    def spend(self, peer_id: str, now_s: float, units: float) -> float:
        """Take ``units`` that have been used already; return the seconds to wait before the next ones."""
        left = self._left(peer_id, now_s) - units
        self._keep(peer_id, left, now_s)
        return max(0.0, -left / self._rate_per_s)

    def _left(self, peer_id: str, now_s: float) -> float:
        left, at = self._buckets.pop(peer_id, (self._burst, now_s))
        return min(self._burst, left + (now_s - at) * self._rate_per_s)

    def _keep(self, peer_id: str, left: float, now_s: float) -> None:
        self._buckets[peer_id] = (left, now_s)
        if len(self._buckets) > self._max_peers:
            self._buckets.popitem(last=False)


class PeerBench:
    """Peers that did not answer sit out: 15 s, doubling with every further failure, at most 5 min.

    Args:
        max_peers: peers remembered; beyond it the one benched first is forgotten.
    """

    BASE_S = 15.0
    CAP_S = 300.0

    def __init__(self, *, max_peers: int = 4096) -> None:
        self._max_peers = max_peers
        self._benched: OrderedDict[str, tuple[float, float]] = OrderedDict()  # peer: (until, duration)

    def failed(self, peer_id: str, now_s: float) -> None:
        """Note a failure at ``now_s`` (monotonic seconds)."""
        _, duration_s = self._benched.pop(peer_id, (0.0, 0.0))
        duration_s = min(self.CAP_S, duration_s * 2 or self.BASE_S)
        self._benched[peer_id] = (now_s + duration_s, duration_s)
        if len(self._benched) > self._max_peers:
            self._benched.popitem(last=False)

    def succeeded(self, peer_id: str) -> None:
        """Forget the peer's failures."""
        self._benched.pop(peer_id, None)

    def is_benched(self, peer_id: str, now_s: float) -> bool:
        """Whether the peer should not be asked at ``now_s``."""
        until_s, _ = self._benched.get(peer_id, (0.0, 0.0))
        return now_s < until_s

"""How many connections are open, by address. Pure."""

from collections import Counter
from collections.abc import Sequence

from gpunode_tracker.client_addresses import Network, holder_of, is_within
from gpunode_tracker.limits import Limits


class ConnectionBook:
    """Decides which connections are taken.

    Args:
        limits: ``connections`` and ``connections_per_address`` of them.
        proxies: trusted ones, which bring the connections of many; they count in all only.
    """

    def __init__(self, limits: Limits, proxies: Sequence[Network]) -> None:
        self._limits = limits
        self._proxies = proxies
        self._open: Counter[str] = Counter()
        self._in_all = 0

    def take(self, peer: str) -> str | None:
        """Count a new connection and return the holder to be given back at its end; None = refuse it."""
        holder = holder_of(peer)
        full = self._open.get(holder, 0) >= self._limits.connections_per_address and not is_within(peer, self._proxies)
        if full or self._in_all >= self._limits.connections:
            return None
        self._open[holder] += 1
        self._in_all += 1
        return holder

    def give_back(self, holder: str) -> None:
        """Count a connection that has ended."""
        self._in_all -= 1
        self._open[holder] -= 1
        if not self._open[holder]:
            del self._open[holder]

    def __len__(self) -> int:
        """Return how many are open."""
        return self._in_all

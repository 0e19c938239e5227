"""The prices in force, as far as the client knows."""

from collections.abc import Awaitable, Callable

from gpunode_protocol.prices import PriceTable

from gpunode._network import Network


class NetworkPrices:
    """Those in the tracker's network info.

    Args:
        current: what is known of the network.
        fetch: asks the tracker.
    """

    def __init__(self, current: Callable[[], Network], fetch: Callable[[], Awaitable[Network]]) -> None:
        self._current = current
        self._fetch = fetch

    def known(self) -> PriceTable:
        """Return those that the tracker told last; they may be some minutes old."""
        return self._current().info.prices

    async def newest(self) -> PriceTable:
        """Return those that the tracker tells now, else those that are known. Raises like ``NetworkKeeper.fetch``."""
        return (await self._fetch()).info.prices

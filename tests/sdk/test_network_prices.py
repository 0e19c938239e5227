from gpunode._network import Network, verify_network
from gpunode._network_prices import NetworkPrices
from gpunode_protocol.prices import DEFAULT_PRICES

from tests.sdk.world import Keys, dearer


async def test_what_is_known_and_what_is_new() -> None:
    """Only the latter asks the tracker."""
    keys = Keys()
    known = verify_network(keys.network_info(), keys.root.public_key, before=None)
    newest = verify_network(keys.network_info(prices=dearer(2)), keys.root.public_key, before=None)

    async def fetch() -> Network:
        return newest

    prices = NetworkPrices(lambda: known, fetch)
    assert (prices.known(), await prices.newest()) == (DEFAULT_PRICES, dearer(2))

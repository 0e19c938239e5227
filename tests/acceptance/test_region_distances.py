"""How far the regions are, measured by a real node."""

import pytest

from tests.acceptance.network import REGIONS, Network, status_of
from tests.acceptance.processes import wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.full]  # round trips come with the second announcement


def test_a_newcomer_measures_every_region_that_has_nodes(network: Network) -> None:
    """It finds a node of each in the DHT and probes it."""
    node = network.add_node("oceania", name="far")
    try:
        node.wait_ready()
        rtt_ms = wait_until(lambda: len(found := status_of(node)["rtt_ms"]) == len(REGIONS) and found, "round trips")
    finally:
        node.stop()
    assert set(rtt_ms) == set(REGIONS)

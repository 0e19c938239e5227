"""The shared network's own care: whoever was given up meanwhile is known again."""

import pytest
from gpunode_protocol.mesh._hivemind_api import PeerID

from tests.protocol.mesh.conftest import Network, _make_known, link_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_who_was_given_up_is_known_again(network: Network) -> None:
    """As after a call that a busy machine answered late."""
    table, bob = link_of(network.alice).protocol.routing_table, PeerID.from_base58(network.bob.peer_id)
    del table[table.peer_id_to_uid[bob]]
    assert bob not in table
    await _make_known(network.alice, network.bob)
    assert bob in table

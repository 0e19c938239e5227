import pytest
from gpunode import AsyncInferenceClient
from gpunode_benchmarks.light_nodes import MODEL
from gpunode_protocol.mesh import MeshState
from gpunode_protocol.regions import Region

from tests.benchmarks.conftest import LightNetwork

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_each_node_is_a_server_of_the_dht_with_an_identity_of_its_own(light_network: LightNetwork) -> None:
    """What is measured is a network of so many peers."""
    nodes = light_network.nodes.nodes
    assert len({node.mesh.peer_id for node in nodes}) == 2
    assert {node.mesh.status.state for node in nodes} == {MeshState.JOINED}
    assert all(node.mesh.status.records_stored for node in nodes)


async def test_a_real_client_finds_and_probes_them_in_the_dht(light_network: LightNetwork) -> None:
    """Their adverts verify against the tracker's keys, and each says another region."""
    async with AsyncInferenceClient(light_network.url, state_dir=light_network.folder / "light") as client:
        found = await client.nodes(model=MODEL)
    assert {node.node for node in found} == {node.mesh.peer_id for node in light_network.nodes.nodes}
    assert {node.region for node in found} == set(tuple(Region)[:2])
    assert {node.source for node in found} == {"dht"}
    assert all(node.rtt_ms is not None for node in found)


async def test_growing_to_the_same_size_starts_nobody(light_network: LightNetwork) -> None:
    """The count is of all nodes, not of new ones."""
    await light_network.nodes.grow(2)
    assert len(light_network.nodes.nodes) == 2

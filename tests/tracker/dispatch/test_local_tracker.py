"""The tracker as its own client sees it."""

import pytest
from gpunode._tracker import SessionTracker
from gpunode.errors import Unauthorized
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import GrantRequest, ReportRequest, SettlementBatch
from gpunode_tracker.dispatch.local_tracker import LocalTracker, near_addresses

from tests.tracker.dispatch.mesh_world import MeshWorld
from tests.tracker.parties import MODEL, Job, job_id


async def test_the_index_is_the_one_that_clients_get(mesh: MeshWorld) -> None:
    """Signed, and only with what fits."""
    europe = await mesh.add_node(Region.EUROPE)
    await mesh.add_node(Region.ASIA)
    local: SessionTracker = LocalTracker(mesh.tracker)
    reply = await local.nodes(task="llm", model=MODEL, region="europe")
    index = mesh.tracker.keys.trust.open_index(reply.index).body
    assert len(index.adverts) == 1
    everybody = mesh.tracker.keys.trust.open_index((await local.nodes(task="llm", model=None, region=None)).index)
    assert len(everybody.body.adverts) == 2
    assert {count.region: count.nodes for count in (await local.regions()).regions if count.nodes} == {
        Region.EUROPE: 1,
        Region.ASIA: 1,
    }
    assert europe.peer_id in {node.peer_id for node in mesh.nodes}


async def test_the_network_is_the_tracker_s(mesh: MeshWorld) -> None:
    """Without a mesh of its own there is nobody to join by."""
    local = LocalTracker(mesh.tracker)
    assert await local.network() == mesh.tracker.network_info()
    assert mesh.tracker.keys.network in local.url
    await local.close()


def test_the_tracker_s_own_peer_is_reached_without_leaving_the_machine() -> None:
    """Its public address may not lead back to it; a port that the system chose is told by p2pd."""
    listen = (
        "/ip4/0.0.0.0/tcp/4001",
        "/ip6/::/udp/4001/quic-v1",
        "/ip4/10.0.0.7/tcp/4001",
        "/ip4/127.0.0.1/tcp/0",
        "/ip4/127.0.0.1/udp/0/quic-v1",
    )
    assert near_addresses(listen, "12D3") == [
        "/ip4/127.0.0.1/tcp/4001/p2p/12D3",
        "/ip6/::1/udp/4001/quic-v1/p2p/12D3",
        "/ip4/10.0.0.7/tcp/4001/p2p/12D3",
    ]


async def test_vouchers_are_settled(mesh: MeshWorld) -> None:
    """As if they had come by HTTP: counted, and answered one by one."""
    node = await mesh.add_node()
    job = await mesh.submit()
    deal = Job(mesh.tracker.keys.network, mesh.tracker.dispatch, node.identity, job.jti or "")
    reply = await LocalTracker(mesh.tracker).settle(SettlementBatch(items=(deal.item(4, 7), deal.item(4, 7))))
    assert [result.status for result in reply.results] == ["settled", "duplicate"]
    assert await mesh.earned() == 10 * 7 + 30 * 4
    assert b'settlement_items_total{status="settled"} 1.0' in mesh.tracker.metrics.render()


async def test_it_has_no_account(mesh: MeshWorld) -> None:
    """Whoever submitted a job pays for it."""
    local = LocalTracker(mesh.tracker)
    peer = mesh.tracker.dispatch.peer_id
    report = ReportRequest(node=peer, job=job_id(1), segment=0, kind="bad_receipt", detail="")
    for call in (
        local.grant(GrantRequest(peer=peer, tasks=(Task.LLM,))),
        local.report(report),
        local.balance(),
        local.own_nodes(),
    ):
        with pytest.raises(Unauthorized, match="submitted"):
            await call

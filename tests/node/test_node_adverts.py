"""Adverts of a running node."""

from collections import deque
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from gpunode_node.advert_builder import AdvertBuilder
from gpunode_node.credentials import Credentials
from gpunode_node.network_state import NetworkState
from gpunode_node.node_adverts import NodeAdverts, StandingSource
from gpunode_node.own_place import OwnPlace
from gpunode_node.region_distances import RegionDistances
from gpunode_protocol.adverts import Gpu
from gpunode_protocol.geography import Position
from gpunode_protocol.regions import Region

from tests.node.fake_mesh import FakeMesh
from tests.node.fake_tracker import certificate, network_info
from tests.node.virtual_time import virtual_time
from tests.node.world import EPOCH, NODE, running_node


@virtual_time
async def test_adverts_follow_what_changes(tmp_path: Path) -> None:
    """None without a certificate; new addresses are seen, and the last ones kept while p2pd restarts."""
    state = NetworkState(tmp_path / "n.json")
    state.accept(network_info())
    link = SimpleNamespace(credentials=None)
    mesh = FakeMesh()
    await mesh.start()
    place = OwnPlace(Region.EUROPE, "DE", Position(50, 9))
    gpu = Gpu(model="", count=0, memory_mb=0)
    distances = RegionDistances(mesh, state, Random(1))
    distances._samples[Region.ASIA] = deque([150])
    source = StandingSource(gpu, place, state, cast("Any", link), mesh, distances)
    async with running_node(tmp_path) as node:
        adverts = NodeAdverts(AdvertBuilder(NODE, lambda: EPOCH), source, [node.model])
        assert await adverts.build(False) == []
        link.credentials = Credentials("t", certificate(), None)
        (first,) = await adverts.build(False)
        assert (first.body.country, first.body.addresses) == ("DE", ("/ip4/127.0.0.1/tcp/4001",))
        assert (first.body.region, first.body.latitude, first.body.longitude) == (Region.EUROPE, 50, 9)
        assert first.body.rtt_ms == {"asia": 150}
        mesh.public = ("/ip4/11.0.0.1/tcp/9",)
        (second,) = await adverts.build(False)
        mesh.broken = True
        (third,) = await adverts.build(False)
        assert second.body.addresses == third.body.addresses == ("/ip4/11.0.0.1/tcp/9",)
        (last,) = await adverts.build(True)
        assert last.body.tombstone

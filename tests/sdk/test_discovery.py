from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gpunode._discovery import Discovery, Found
from gpunode._good_nodes import GoodNodes
from gpunode._network import Network
from gpunode._selection import Wanted
from gpunode_protocol.dht_keys import DhtKey, parse_key
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh import MeshConfig
from gpunode_protocol.mesh.advert_records import AdvertValidator, record_of
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NodesReply

from tests.sdk.memory_mesh import MemoryMesh
from tests.sdk.world import EPOCH, MODEL, World

WANTED = Wanted(Task.LLM, MODEL)


class _Searcher:
    """Discovery in a world, with its third source."""

    def __init__(self, world: World, **info: Any) -> None:
        self.world = world
        keys = world.keys
        self.network = Network(keys.network_info(**info), keys.trust, keys.revocations().body)
        validator = AdvertValidator(keys.trust)
        config = MeshConfig(identity_path=world.folder / "identity.key")
        self.good = GoodNodes(world.folder / "nodes.json", clock=world.clock)
        self.discovery = Discovery(
            MemoryMesh(world.mesh, config, validator, world.clock),
            index=self.index,
            good_nodes=self.good,
            network=lambda: self.network,
            clock=world.clock,
        )
        self.index_asked = 0

    async def index(self, wanted: Wanted) -> NodesReply:
        """Ask the tracker."""
        self.index_asked += 1
        return await self.world.tracker.nodes(task=wanted.task, model=wanted.model, region=wanted.region)

    async def find(self, home: Region | None = None, wanted: Wanted = WANTED) -> Found:
        """Find candidates."""
        return await self.discovery.find(wanted, home=home)


def _sources(found: Found) -> dict[str, str]:
    return {candidate.node: candidate.source for candidate in found.candidates}


async def test_both_sources_are_merged_and_the_dht_is_named(world: World) -> None:
    """A node in both counts as found in the DHT."""
    in_dht, in_both = world.add_node(), world.add_node(where="both")
    in_index = world.add_node(where="index", region=Region.AFRICA)
    found = await _Searcher(world).find()
    assert _sources(found) == {in_dht.peer_id: "dht", in_both.peer_id: "dht", in_index.peer_id: "index"}


async def test_the_newest_advert_of_a_node_counts(world: World) -> None:
    """Whichever source has it."""
    node = world.add_node()
    world.tracker.adverts.append(world.keys.advert(node.identity, sequence=9, region=Region.EUROPE))
    (candidate,) = (await _Searcher(world).find()).candidates
    assert (candidate.body.sequence, candidate.source) == (9, "dht")


async def test_with_enough_nodes_at_home_nobody_else_is_asked(world: World) -> None:
    """Eight candidates in the own region end the search."""
    for _ in range(8):
        world.add_node(region=Region.OCEANIA)
    world.add_node(region=Region.EUROPE)
    found = await _Searcher(world).find(Region.OCEANIA)
    assert {candidate.body.region for candidate in found.candidates} == {Region.OCEANIA}
    assert {parse_key(key).region for key in world.mesh.looked_up} == {Region.OCEANIA}


async def test_a_poor_region_is_widened(world: World) -> None:
    """Fewer than eight at home: all other regions are looked up, home not again."""
    world.add_node(region=Region.OCEANIA)
    world.add_node(region=Region.EUROPE)
    found = await _Searcher(world).find(Region.OCEANIA)
    assert len(found.candidates) == 2
    assert len(world.mesh.looked_up) == len(set(world.mesh.looked_up)) == 10


async def test_all_shards_are_searched_in_both_versions_after_a_change(world: World) -> None:
    """Writers use old and new keys for five minutes; a reader needs both for as long."""
    node = world.add_node()
    world.mesh.records.clear()
    world.mesh.announce(world.adverts[node.peer_id], shard_bits=2)
    found = await _Searcher(world, shard_bits=1, previous_shard_bits=2).find(
        wanted=Wanted(Task.LLM, MODEL, Region.ASIA)
    )
    assert _sources(found) == {node.peer_id: "dht"}
    assert len(world.mesh.looked_up) == (2 + 4) * 2


async def test_a_dht_that_is_down_leaves_the_index(world: World) -> None:
    """And the reasons say so."""
    node = world.add_node(where="both")
    world.mesh.dht_is_down = True
    found = await _Searcher(world).find()
    assert _sources(found) == {node.peer_id: "index"}
    assert found.reasons["the DHT cannot be asked"] > 0


async def test_good_nodes_are_asked_only_when_nobody_else_is_known(world: World) -> None:
    """Their adverts may have expired; the probe will tell."""
    searcher = _Searcher(world)
    old = world.keys.advert(Identity.from_seed(b"\x40" * 32), expires_at=EPOCH - 1_000)
    searcher.good.remember(old)
    live = world.add_node()
    assert _sources(await searcher.find()) == {live.peer_id: "dht"}
    world.mesh.records.clear()
    assert _sources(await searcher.find()) == {old.body.peer: "cache"}


Change = Callable[[World], Awaitable[NodesReply] | NodesReply]


def _expired(world: World) -> NodesReply:
    return world.keys.index(world.keys.advert(Identity.from_seed(b"\x41" * 32), expires_at=EPOCH))


def _old(world: World) -> NodesReply:
    return world.keys.index(world.keys.advert(Identity.from_seed(b"\x41" * 32)), issued_at=EPOCH - 301)


def _foreign(world: World) -> NodesReply:
    world.keys.signer = Identity.from_seed(b"\x42" * 32)
    return world.keys.index()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (_expired, "advert has expired"),
        (_old, "the tracker's index is old"),
        (_foreign, "the tracker's index cannot be read"),
    ],
)
async def test_an_index_is_checked(
    world: World, reply: Callable[[World], NodesReply], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signature and age of the index, then every advert in it."""

    async def nodes(**_: object) -> NodesReply:
        return reply(world)

    monkeypatch.setattr(world.tracker, "nodes", nodes)
    found = await _Searcher(world).find()
    assert found.candidates == []
    assert found.reasons[reason] == 1


async def test_a_record_under_a_wrong_key_is_counted(world: World) -> None:
    """The mesh's validator refuses it; the reason is passed on."""
    node = world.add_node()
    advert = world.adverts[node.peer_id]
    key = DhtKey(world.keys.network, Task.LLM, MODEL, Region.AFRICA, 0, "-")
    world.mesh.records.clear()
    world.mesh.records[str(key)].append(record_of(key, advert))
    found = await _Searcher(world).find()
    assert found.candidates == []
    assert any("DHT record refused" in reason for reason in found.reasons)

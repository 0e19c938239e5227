"""When a search is worth going on with, in virtual time, with sources that answer when they are told to."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from gpunode._advert_pool import Found
from gpunode._discovery import INDEX_DEADLINE_S, Discovery
from gpunode._good_nodes import GoodNodes
from gpunode._look_up import DHT_PATIENCE_S, INDEX_PATIENCE_S, LookUp
from gpunode._network import Network
from gpunode._selection import Wanted
from gpunode_protocol.mesh import MeshConfig
from gpunode_protocol.mesh.advert_records import AdvertValidator
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NodesReply

from tests.node.virtual_time import virtual_time
from tests.sdk.memory_mesh import MemoryMesh
from tests.sdk.world import MODEL, World

HOME = Region.EUROPE


class _Searcher:
    """Searches in a world with slow sources, and notes when it went on.

    index, home, abroad: seconds until an answer of the tracker, and of the DHT at home and elsewhere.
    """

    def __init__(self, world: World, *, index: float, home: float, abroad: float = 0.5) -> None:
        keys = world.keys
        network = Network(keys.network_info(), keys.trust, keys.revocations().body)
        config = MeshConfig(identity_path=world.folder / "identity.key")
        mesh = MemoryMesh(world.mesh, config, AdvertValidator(keys.trust), world.clock)
        world.mesh.find_delay_s = lambda key: home if f"/{HOME}/" in key else abroad

        async def fetch(wanted: Wanted) -> NodesReply:
            await asyncio.sleep(index)
            return await world.tracker.nodes(task=wanted.task, model=wanted.model, region=wanted.region)

        self.discovery = Discovery(
            mesh,
            index=fetch,
            good_nodes=GoodNodes(Path(world.folder / "nodes.json"), clock=world.clock),
            network=lambda: network,
            clock=world.clock,
        )
        self.first: list[tuple[float, int]] = []
        self.look_up: LookUp

    async def soon(self, home: Region | None = HOME, region: Region | None = None) -> tuple[float, Found]:
        """Return after how many seconds it was worth going on, and with what."""
        began_at = asyncio.get_running_loop().time()

        def passed() -> float:
            return asyncio.get_running_loop().time() - began_at

        def note(found: Found) -> None:
            self.first.append((passed(), len(found.candidates)))

        self.look_up = self.discovery.begin(Wanted(Task.LLM, MODEL, region), home=home)
        found = await self.look_up.soon(note)
        return passed(), found


def _nodes(found: Found) -> Collection[str]:
    return {item.node for item in found.candidates}


@virtual_time
async def test_a_prompt_dht_is_waited_for_and_named(world: World) -> None:
    """Nearby, the tracker answers at once, and the DHT a moment later. Other regions are not waited for."""
    node = world.add_node(where="both", region=HOME)
    searcher = _Searcher(world, index=0.01, home=0.2)
    passed_s, found = await searcher.soon()
    assert passed_s == pytest.approx(0.2)
    assert [(item.node, item.source) for item in found.candidates] == [(node.peer_id, "dht")]
    assert searcher.first == [(pytest.approx(0.01), 1)]


@virtual_time
async def test_a_slow_dht_is_left_to_go_on(world: World) -> None:
    """It gets its least time beside an index that is quick, and as long again beside one that is not."""
    node, late = world.add_node(where="index", region=HOME), world.add_node(region=HOME)
    for index_s, expected_s in ((0.01, DHT_PATIENCE_S), (0.4, 0.8)):
        searcher = _Searcher(world, index=index_s, home=0.95)
        passed_s, found = await searcher.soon()
        assert (passed_s, _nodes(found)) == (pytest.approx(expected_s), {node.peer_id})
        assert _nodes(await searcher.look_up.whole()) == {node.peer_id, late.peer_id}


@virtual_time
async def test_an_index_is_waited_for_beside_few_candidates_of_the_dht(world: World) -> None:
    """Whoever holds a key's places in the DHT names whom it likes: the tracker is the second opinion."""
    in_dht, in_index = world.add_node(region=HOME), world.add_node(where="index", region=HOME)
    passed_s, found = await _Searcher(world, index=0.9, home=0.05).soon()
    assert (passed_s, _nodes(found)) == (pytest.approx(0.9), {in_dht.peer_id, in_index.peer_id})


@virtual_time
async def test_an_index_that_is_silent_is_not_waited_for_long(world: World) -> None:
    """The tracker may be cut off, and the job does not need it."""
    node = world.add_node(region=HOME)
    searcher = _Searcher(world, index=100.0, home=0.05)
    passed_s, found = await searcher.soon()
    assert (passed_s, _nodes(found)) == (pytest.approx(INDEX_PATIENCE_S), {node.peer_id})
    assert searcher.look_up.is_under_way
    await searcher.look_up.whole()
    assert asyncio.get_running_loop().time() == pytest.approx(1_000 + INDEX_DEADLINE_S)


@virtual_time
async def test_eight_candidates_of_the_dht_are_enough(world: World) -> None:
    """They always were."""
    for _ in range(8):
        world.add_node(region=HOME)
    passed_s, found = await _Searcher(world, index=0.5, home=0.1).soon()
    assert (passed_s, len(found.candidates)) == (pytest.approx(0.1), 8)


@virtual_time
async def test_nobody_at_home_and_an_index_that_knows_others(world: World) -> None:
    """It knows all regions, so the DHT gets as long again to name somebody nearer, and no look round the world."""
    node = world.add_node(where="both", region=Region.ASIA)
    passed_s, found = await _Searcher(world, index=0.2, home=0.3, abroad=0.9).soon()
    assert (passed_s, _nodes(found)) == (pytest.approx(0.3), {node.peer_id})


@virtual_time
async def test_far_regions_are_left_alone_that_the_index_has_told_of(world: World) -> None:
    """Whoever does not hurry asks the DHT of them, too."""
    at_home, far = world.add_node(where="both", region=HOME), world.add_node(region=Region.ASIA)
    searcher = _Searcher(world, index=0.1, home=0.2)
    await searcher.soon()
    assert _nodes(await searcher.look_up.whole()) == {at_home.peer_id}
    found = await searcher.discovery.find(Wanted(Task.LLM, MODEL), home=HOME)
    assert _nodes(found) == {at_home.peer_id, far.peer_id}


@virtual_time
async def test_nobody_at_home_and_no_index(world: World) -> None:
    """The whole search is waited for."""
    node = world.add_node(region=Region.ASIA)
    passed_s, found = await _Searcher(world, index=100.0, home=0.1, abroad=0.4).soon()
    assert (passed_s, _nodes(found)) == (pytest.approx(INDEX_DEADLINE_S), {node.peer_id})


@virtual_time
async def test_a_pinned_region_is_searched_alone(world: World) -> None:
    """Candidates elsewhere are none."""
    world.add_node(where="both", region=HOME)
    node = world.add_node(where="index", region=Region.ASIA)
    passed_s, found = await _Searcher(world, index=0.1, home=0.01, abroad=0.2).soon(region=Region.ASIA)
    assert (passed_s, _nodes(found)) == (pytest.approx(0.2), {node.peer_id})
    assert all("/asia/" in key for key in world.mesh.looked_up)


@virtual_time
async def test_without_a_home_anybody_is_near(world: World) -> None:
    """All regions are asked at once."""
    node = world.add_node(where="both", region=Region.AFRICA)
    passed_s, found = await _Searcher(world, index=0.1, home=0.15, abroad=0.2).soon(home=None)
    assert (passed_s, _nodes(found)) == (pytest.approx(0.2), {node.peer_id})


@virtual_time
async def test_who_gives_up_ends_the_search(world: World) -> None:
    """Nothing goes on for a caller who has left."""
    searcher = _Searcher(world, index=1.0, home=1.0)
    waiting = asyncio.create_task(searcher.soon())
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not searcher.look_up.is_under_way


@virtual_time
async def test_closing_ends_all_searches(world: World) -> None:
    """Also those that go on behind their callers' backs."""
    world.add_node(where="index", region=HOME)
    searcher = _Searcher(world, index=0.0, home=0.9)
    await searcher.soon()
    assert searcher.look_up.is_under_way
    await searcher.discovery.close()
    assert not searcher.look_up.is_under_way


def test_sources_have_their_least() -> None:
    """Its least is more than a prompt DHT takes; a second, more than a tracker on another continent."""
    kinds: Any = (DHT_PATIENCE_S, INDEX_PATIENCE_S, INDEX_DEADLINE_S)
    assert sorted(kinds) == list(kinds)

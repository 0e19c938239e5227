import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from gpunode import AsyncInferenceClient
from gpunode._candidate_memory import REFRESH_AFTER_S
from gpunode._finder import Placement
from gpunode._home import JUDGE_INTERVAL_S, MEASURED_KEPT_S
from gpunode._look_up import DHT_PATIENCE_S
from gpunode._probing import FRESH_S
from gpunode._selection import Wanted
from gpunode._state import StateDir, write_json
from gpunode_protocol.messages import JOB_PROTOCOL, PROBE_PROTOCOL
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NodesReply

from tests.node.virtual_time import virtual_time
from tests.sdk.world import HELLO, MODEL, World


async def _answering_node(client: AsyncInferenceClient) -> str:
    return (await client.chat(messages=HELLO)).route.node


@virtual_time
async def test_a_second_job_searches_and_asks_nobody(world: World) -> None:
    """A client in use knows its nodes: a job costs neither look-ups nor probes."""
    node = world.add_node()
    async with world.client() as client:
        await client.chat(messages=HELLO)
        searched, probed = len(world.mesh.looked_up), world.mesh.opened[node.peer_id, PROBE_PROTOCOL]
        assert await _answering_node(client) == node.peer_id
        assert (len(world.mesh.looked_up), world.mesh.opened[node.peer_id, PROBE_PROTOCOL]) == (searched, probed)
        await asyncio.sleep(10.25 * FRESH_S)  # meanwhile its connection is kept warm
        probed = world.mesh.opened[node.peer_id, PROBE_PROTOCOL]
        assert await _answering_node(client) == node.peer_id
        assert (len(world.mesh.looked_up), world.mesh.opened[node.peer_id, PROBE_PROTOCOL]) == (searched, probed)


@virtual_time
async def test_an_old_answer_is_used_once_more_and_looked_up_behind_the_callers_back(world: World) -> None:
    """A node that came meanwhile is known to the job after."""
    first = world.add_node(region=Region.ASIA)
    async with world.client(region="europe") as client:
        await client.chat(messages=HELLO)
        world.remove_probe(first.peer_id)  # so that the nearer one is the choice as soon as it is known
        second = world.add_node(region=Region.EUROPE)
        world.now += REFRESH_AFTER_S
        assert await _answering_node(client) == first.peer_id
        await asyncio.sleep(FRESH_S)
        assert await _answering_node(client) == second.peer_id


@virtual_time
async def test_what_a_source_brings_too_late_is_for_the_next_job(world: World) -> None:
    """The first one goes on with what the index has named; nobody searches again for the second."""
    first = world.add_node(where="index")
    second = world.add_node(region=Region.ASIA)
    world.mesh.find_delay_s = lambda _key: 0.9
    async with world.client(region="asia") as client:
        started_at = asyncio.get_running_loop().time()
        assert await _answering_node(client) == first.peer_id
        assert asyncio.get_running_loop().time() - started_at == pytest.approx(DHT_PATIENCE_S)
        await asyncio.sleep(2)
        looked_up = len(world.mesh.looked_up)
        world.remove_node(first.peer_id)
        await asyncio.sleep(FRESH_S)
        assert await _answering_node(client) == second.peer_id
        assert len(world.mesh.looked_up) == looked_up


@virtual_time
async def test_the_first_ones_named_may_be_dead(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the search is waited for: whoever the slower source names can do the job."""
    dead, living = world.add_node(region=Region.ASIA), world.add_node(where="index", region=Region.EUROPE)
    world.remove_node(dead.peer_id)
    fetch = world.tracker.nodes

    async def slow(**wanted: Any) -> NodesReply:
        await asyncio.sleep(1.5)
        return await fetch(**wanted)

    monkeypatch.setattr(world.tracker, "nodes", slow)
    async with world.client(region="asia") as client:
        assert await _answering_node(client) == living.peer_id


@virtual_time
async def test_nodes_are_asked_while_the_other_source_is_waited_for(world: World) -> None:
    """Both are round trips, and need not be made one after the other."""
    world.add_node(where="index", probe_s=0.2)
    world.mesh.find_delay_s = lambda _key: 0.9
    async with world.client(region="asia") as client:
        start = (await client.chat(messages=HELLO)).start
    assert (start.looking_up_ms, start.probing_ms) == (pytest.approx(1000 * DHT_PATIENCE_S), pytest.approx(0, abs=1))


async def test_a_look_up_asks_nobody(world: World) -> None:
    """Who was found is known then, and no node has heard of this client."""
    node = world.add_node()
    async with world.client() as client:
        finder = (await client._session.ready()).finder
        placement = Placement(Wanted(Task.LLM, MODEL))
        assert finder.known(placement) == set()
        await finder.look_up(placement)
        assert finder.known(placement) == {node.peer_id}
        assert _probes_so_far(world) == 0


@virtual_time
async def test_an_explanation_hears_everybody_out(world: World) -> None:
    """All sources and all nodes; a job does not wait for one that cannot win any more."""
    near = world.add_node(region=Region.ASIA, probe_s=0.01)
    far = world.add_node(region=Region.EUROPE, probe_s=0.4)
    dead = world.add_node(region=Region.AMERICA)
    world.silence_probe(dead.peer_id)
    async with world.client(region="asia") as client:
        assert (await client.chat(messages=HELLO)).start.probing_ms < 100
        told = {item.node: item for item in (await client.explain(model=MODEL)).candidates}
    assert told[near.peer_id].chosen
    assert told[far.peer_id].why.endswith("ms slower: RTT +390")
    assert told[dead.peer_id].why == "did not answer the probe in time"


@virtual_time
async def test_when_no_known_node_answers_the_network_is_searched(world: World) -> None:
    """The nodes of a minute ago may all have gone."""
    gone = world.add_node()
    async with world.client() as client:
        await client.chat(messages=HELLO)
        world.remove_node(gone.peer_id)
        there = world.add_node()
        await asyncio.sleep(FRESH_S)
        assert await _answering_node(client) == there.peer_id


@virtual_time
async def test_jobs_sent_within_one_probe_are_spread(world: World) -> None:
    """A node's answer does not change while it is fresh, so the jobs that run meanwhile are counted on top."""
    nodes = [world.add_node() for _ in range(3)]
    async with world.client() as client:
        answers = Counter(await asyncio.gather(*(_answering_node(client) for _ in range(6))))
    assert answers == {node.peer_id: 2 for node in nodes}


@virtual_time
async def test_a_dead_node_does_not_hold_up_a_client_in_use(world: World) -> None:
    """It is asked while the job runs on one that has just answered."""
    alive, dead = world.add_node(region=Region.ASIA), world.add_node(region=Region.ASIA)
    world.silence_probe(dead.peer_id)
    async with world.client(region="asia") as client:
        await client.chat(messages=HELLO)
        started_at = asyncio.get_running_loop().time()
        assert await _answering_node(client) == alive.peer_id
        assert asyncio.get_running_loop().time() - started_at < 0.1


@virtual_time
async def test_with_more_nodes_than_are_probed_the_next_job_probes_nobody(world: World) -> None:
    """Those that have answered are enough for it, although others would be as good."""
    for _ in range(12):
        world.add_node()
    async with world.client() as client:
        await client.chat(messages=HELLO)
        probes = _probes_so_far(world)
        await client.chat(messages=HELLO)
        assert _probes_so_far(world) == probes


@virtual_time
async def test_when_all_that_answered_are_full_others_are_asked(world: World) -> None:
    """A burst of jobs spreads beyond the first eight nodes."""
    nodes = [world.add_node() for _ in range(12)]
    async with world.client() as client:
        answers = Counter(await asyncio.gather(*(_answering_node(client) for _ in range(4 * len(nodes)))))
    assert len(answers) > 8


@virtual_time
async def test_a_region_told_by_round_trips_is_compared_with_the_others_after_a_day(world: World) -> None:
    """A client in steady use with enough nodes there asks nobody else, so it would stay wrong for ever."""
    for region, probe_s, count in ((Region.ASIA, 0.04, 8), (Region.AMERICA, 0.09, 6), (Region.EUROPE, 0.01, 3)):
        for _ in range(count):
            world.add_node(region=region, probe_s=probe_s)
    home = StateDir(world.config().state_dir).tracker(world.tracker.url).home_path
    learned_at = world.now - MEASURED_KEPT_S + 2 * REFRESH_AFTER_S
    write_json(home, {"region": "asia", "from": "rtt", "learned_at": learned_at, "asked_at": world.now})
    regions = []
    async with world.client() as client:
        for _ in range(10):
            await client.chat(messages=HELLO)
            regions.append(json.loads(home.read_text())["region"])
            await _time_passes(world)
    forgotten = int(JUDGE_INTERVAL_S / REFRESH_AFTER_S)
    assert regions == ["asia"] * 2 + [None] * forgotten + ["europe"] * 2


@virtual_time
async def test_other_regions_are_left_again_when_a_node_at_home_is_free(world: World) -> None:
    """Jobs go home, and the search ends there. It is noticed while they go elsewhere and ask nobody at home."""
    at_home = [world.add_node(active=4) for _ in range(8)]
    abroad = {world.add_node(region=Region.EUROPE, probe_s=0.05).peer_id for _ in range(8)}
    answered = []
    async with world.client(region="asia") as client:
        for number in range(8):
            if number == 4:
                at_home[0].active = 0
            world.mesh.looked_up.clear()
            answered.append(await _answering_node(client))
            await _time_passes(world)
    assert set(answered[1:4]) <= abroad
    assert set(answered[6:]) == {at_home[0].peer_id}
    assert {key.split("/")[5] for key in world.mesh.looked_up} == {"asia"}


@virtual_time
async def test_a_node_that_failed_is_not_the_free_one_at_home(world: World) -> None:
    """It answers probes, and no jobs: they would all wait at the others, however many are free elsewhere."""
    for _ in range(8):
        world.add_node(active=4)
    broken = world.add_node()
    del world.mesh.handlers[broken.peer_id, JOB_PROTOCOL]
    abroad = world.add_node(region=Region.EUROPE, probe_s=0.05)
    async with world.client(region="asia") as client:
        assert [await _answering_node(client) for _ in range(2)].count(abroad.peer_id) == 0
        await asyncio.sleep(FRESH_S)
        assert await _answering_node(client) == abroad.peer_id


async def _time_passes(world: World) -> None:
    """Until the next job looks the nodes up anew, behind its caller's back."""
    world.now += REFRESH_AFTER_S
    await asyncio.sleep(REFRESH_AFTER_S)


def _probes_so_far(world: World) -> int:
    return sum(count for (_, protocol), count in world.mesh.opened.items() if protocol == PROBE_PROTOCOL)


async def test_all_nodes_are_always_searched_for(world: World) -> None:
    """Who lists the nodes wants those of now."""
    world.add_node()
    async with world.client() as client:
        assert len(await client.nodes()) == 1
        world.add_node()
        assert len(await client.nodes()) == 2

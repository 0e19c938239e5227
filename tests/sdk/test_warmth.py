import asyncio
from pathlib import Path

from gpunode._warmth import BUSY_FOR_S, IDLE_FOR_S, IDLE_INTERVAL_S, MAX_KNOWN, MAX_WARM
from gpunode_protocol.messages import PROBE_PROTOCOL

from tests.node.virtual_time import virtual_time
from tests.sdk.world import HELLO, World


def _probes_of(world: World) -> dict[str, int]:
    return {node.peer_id: world.mesh.opened[node.peer_id, PROBE_PROTOCOL] for node in world.nodes}


@virtual_time
async def test_the_best_few_are_kept_warm_while_the_client_is_in_use(world: World) -> None:
    """First all that may get the next job, then the best few so that their connections live, at last nobody."""
    for _ in range(12):
        world.add_node()
    async with world.client() as client:
        await client.chat(messages=HELLO)
        first = _probes_of(world)
        await asyncio.sleep(BUSY_FOR_S - 1)
        busy = _probes_of(world)
        assert sum(busy[node] > first[node] for node in first) == MAX_KNOWN
        await asyncio.sleep(IDLE_FOR_S)
        idle = _probes_of(world)
        kept = [idle[node] - busy[node] for node in idle if idle[node] - busy[node] > 2]  # two came before it was idle
        assert len(kept) == MAX_WARM
        assert max(kept) <= IDLE_FOR_S / IDLE_INTERVAL_S + 2
        await asyncio.sleep(IDLE_FOR_S)
        assert _probes_of(world) == idle


@virtual_time
async def test_closing_the_client_ends_it_at_once(world: World) -> None:
    """It is no work that a client waits for."""
    world.add_node()
    client = world.client()
    await client.chat(messages=HELLO)
    started_at = asyncio.get_running_loop().time()
    await client.close()
    assert asyncio.get_running_loop().time() == started_at


@virtual_time
async def test_a_later_job_warms_up_again(world: World, tmp_path: Path) -> None:
    """After a long pause the first job probes, and then its nodes are warm as before."""
    node = world.add_node()
    async with world.client(state_dir=tmp_path / "other") as client:
        await client.chat(messages=HELLO)
        await asyncio.sleep(3 * IDLE_FOR_S)
        before = _probes_of(world)[node.peer_id]
        await client.chat(messages=HELLO)
        await asyncio.sleep(5.5)
        assert _probes_of(world)[node.peer_id] == before + 1 + 5


@virtual_time
async def test_a_node_that_falls_silent_does_not_make_the_others_unknown(world: World) -> None:
    """Each of them is asked every second all the same."""
    alive, silent = world.add_node(), world.add_node()
    async with world.client() as client:
        await client.chat(messages=HELLO)
        world.silence_probe(silent.peer_id)
        before = _probes_of(world)[alive.peer_id]
        await asyncio.sleep(10.5)
        assert _probes_of(world)[alive.peer_id] == before + 10

"""What nodes claim against what this client measures, and what it demands of them, on a network in memory."""

import asyncio

import pytest
from gpunode import InferenceClient, Limits
from gpunode._breakers import FIRST_PAUSE_S
from gpunode.errors import InvalidRequest, NoNodeFound
from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.identity import PeerId
from gpunode_protocol.messages import PROBE_PROTOCOL
from gpunode_protocol.regions import Region

from tests.node.virtual_time import virtual_time
from tests.sdk.memory_mesh import MemoryStream
from tests.sdk.scripted_node import FINGERPRINT, ScriptedNode
from tests.sdk.world import HELLO, MODEL, World

WORDS = ("w",) * 40


def _is_far(world: World, node: ScriptedNode, rtt_s: float) -> None:
    """Let a node's probes take their time."""
    serve = node.serve_probe

    async def late(stream: MemoryStream) -> None:
        read = stream.read

        async def slowly(max_bytes: int = 65536) -> bytes:
            data = await read(max_bytes)
            await asyncio.sleep(rtt_s)
            return data

        stream.read = slowly  # type: ignore[method-assign]  # -- the way there takes its time
        await serve(stream)

    world.mesh.handlers[node.peer_id, PROBE_PROTOCOL] = late


@virtual_time
async def test_a_node_that_lies_about_its_region_is_measured(world: World) -> None:
    """It says that it is here; its probe says otherwise. The honest neighbour abroad is chosen."""
    liar, honest = world.add_node(region=Region.ASIA), world.add_node(region=Region.EUROPE)
    _is_far(world, liar, 0.09)
    _is_far(world, honest, 0.05)
    async with world.client(region="asia") as client:
        told = await client.explain(model=MODEL)
        assert [item.node for item in told.candidates] == [honest.peer_id, liar.peer_id]
        assert [round(item.terms.rtt_ms) for item in told.candidates] == [50, 90]
        assert told.candidates[1].why == "40 ms slower: RTT +40"


@virtual_time
async def test_a_client_finds_out_where_it_is(world: World) -> None:
    """The tracker does not know its address. Three near nodes tell, a nearer liar does not; it is kept."""
    for region, rtt_s in ((Region.ASIA, 0.2), (Region.EUROPE, 0.02)):
        for _ in range(3):
            _is_far(world, world.add_node(region=region), rtt_s)
    _is_far(world, world.add_node(region=Region.OCEANIA), 0.001)
    homes = []
    for _ in range(2):
        async with world.client() as client:
            told = await client.explain(model=MODEL)
            homes.append((told.home, told.home_from))
    assert homes == [(None, None), ("europe", "rtt")]


@virtual_time
async def test_a_node_that_lies_about_its_speed_is_measured(world: World) -> None:
    """Its first job shows that it makes 20 tokens/s where it claims 50; it is chosen no more, also by the next run."""
    liar = world.add_node(words=WORDS, token_s=0.05)
    async with world.client() as client:
        await client.chat(messages=HELLO)
    honest = world.add_node(words=WORDS, token_s=0.02)
    async with world.client() as client:
        told = await client.explain(model=MODEL)
        assert told.chosen.node == honest.peer_id
        assert [item.speed_from for item in told.candidates] == ["advertised", "observed"]
        assert [round(item.tokens_per_s) for item in told.candidates] == [50, 20]
        assert (await client.chat(messages=HELLO)).route.node == honest.peer_id
    assert len(liar.requests) == 1


@virtual_time
async def test_a_node_that_lies_about_its_load_is_measured(world: World) -> None:
    """It says that it is idle and lets jobs wait: this counts as slowness."""
    liar = world.add_node(words=WORDS, token_s=0.02, first_token_s=1.5)
    async with world.client() as client:
        await client.chat(messages=HELLO)
        honest = world.add_node(words=WORDS, token_s=0.02)
        told = await client.explain(model=MODEL)
    assert [item.node for item in told.candidates] == [honest.peer_id, liar.peer_id]
    assert "reading +" in told.candidates[1].why


@virtual_time
async def test_a_node_that_answers_probes_and_no_jobs_is_left_for_last(world: World) -> None:
    """Also when its pause is over, and in the next run: failures cost."""
    silent = world.add_node(silent=True)
    async with world.client() as client:
        with pytest.raises(NoNodeFound, match="silent for 5 s"):
            await client.chat(messages=HELLO)
    fine = world.add_node()
    async with world.client() as client:
        told = await client.explain(model=MODEL)
    assert [item.node for item in told.candidates] == [fine.peer_id, silent.peer_id]
    assert told.candidates[1].why == "2500 ms slower: failures +2500"


@virtual_time
async def test_when_all_are_broken_they_are_tried_all_the_same(world: World) -> None:
    """Then the error counts what each of them did; one that works again is found although all are paused."""
    broken = [world.add_node(refuse=[job_error(ErrorCode.INTERNAL, "out of order")] * 2) for _ in range(3)]
    async with world.client() as client:
        for _ in range(2):
            with pytest.raises(NoNodeFound, match=r"None of the nodes .* 3 x out of order"):
                await client.chat(messages=HELLO)
        told = await client.explain(model=MODEL)
        assert told.chosen.why == "chosen, for want of a better one: failed lately: tried last"
        assert (await client.chat(messages=HELLO)).response
    assert [len(node.requests) for node in broken].count(3) == 1


@virtual_time
async def test_a_crowded_region_is_widened(world: World) -> None:
    """Eight busy nodes here are enough to stop looking, until none is free: then those elsewhere are found."""
    for _ in range(8):
        world.add_node(region=Region.ASIA, active=4, queued=20)
    abroad = world.add_node(region=Region.EUROPE)
    async with world.client(region="asia") as client:
        first = await client.chat(messages=HELLO)
        assert first.route.node != abroad.peer_id
        await asyncio.sleep(FIRST_PAUSE_S)
        assert (await client.chat(messages=HELLO)).route.node == abroad.peer_id


async def test_demands(world: World) -> None:
    """Each call's own; what cannot be met is counted by reason."""
    here, there = world.add_node(region=Region.ASIA), world.add_node(region=Region.EUROPE, where="both")
    async with world.client(region="asia") as client:

        async def node_of(limits: Limits) -> PeerId | str:
            return (await client.chat(messages=HELLO, limits=limits)).route.node

        assert await node_of(Limits(deny_nodes=frozenset({here.peer_id}))) == there.peer_id
        assert await node_of(Limits(allow_nodes=frozenset({there.peer_id}))) == there.peer_id
        with pytest.raises(NoNodeFound) as caught:
            await node_of(Limits(allow_nodes=frozenset({there.peer_id}), min_sandbox=1))
        assert caught.value.reasons == {
            "is not on the list of allowed nodes": 1,
            "has sandbox level 0, 1 is required": 1,
        }
        with pytest.raises(NoNodeFound, match=r"2 x may cost .* the limit is 0"):
            await node_of(Limits(max_price_credits=0))
        with pytest.raises(NoNodeFound, match="2 x has another fingerprint"):
            await node_of(Limits(fingerprint="0" * 64))
        with pytest.raises(NoNodeFound, match=r"smollm2-135m in asia|on the list of denied"):
            await node_of(Limits(widen=False, deny_nodes=frozenset({here.peer_id})))


async def test_a_required_fingerprint_is_in_the_request(world: World) -> None:
    """A node whose advert lies about it refuses, and what it accepts and signs must name it."""
    node = world.add_node()
    async with world.client(fingerprint=FINGERPRINT.hex()) as client:
        await client.chat(messages=HELLO)
    assert node.jobs[0].request.body.fingerprint == FINGERPRINT


async def test_own_nodes(world: World) -> None:
    """Those that the tracker says are linked to the account."""
    mine = world.add_node()
    world.add_node()
    async with world.client(own_nodes=True) as client:
        with pytest.raises(NoNodeFound, match="2 x is not linked to your account"):
            await client.chat(messages=HELLO)
    world.tracker.linked = (mine.peer_id,)
    async with world.client(own_nodes=True) as client:
        assert (await client.chat(messages=HELLO)).route.node == mine.peer_id


def test_both_clients_explain_alike(world: World) -> None:
    """The same frozen objects; a size that makes no sense is refused."""
    world.add_node()
    with InferenceClient.from_config(world.config(), world.surroundings()) as client:
        told = client.explain(model=MODEL, input_units=10, output_units=0)
        assert (told.input_units, told.output_units, told.chosen.terms.decode_ms) == (10, 0, 0)
        with pytest.raises(InvalidRequest, match="negative"):
            client.explain(input_units=-1)
        with pytest.raises(NoNodeFound):
            client.explain(model="other")


@virtual_time
async def test_a_far_node_is_waited_for_where_the_near_one_has_a_queue(world: World) -> None:
    """The first answer is the nearest's, but it would keep the job waiting far longer than the way to the other one."""
    near, far = world.add_node(active=4, queued=9), world.add_node()
    _is_far(world, near, 0.002)
    _is_far(world, far, 0.3)
    async with world.client() as client:
        assert (await client.chat(messages=HELLO)).route.node == far.peer_id


@virtual_time
async def test_a_far_node_is_not_waited_for_where_the_near_one_is_free(world: World) -> None:
    """It could not be better, whatever it answers."""
    near, far = world.add_node(), world.add_node()
    _is_far(world, near, 0.002)
    _is_far(world, far, 0.3)
    async with world.client() as client:
        started_at = asyncio.get_running_loop().time()
        assert (await client.chat(messages=HELLO)).route.node == near.peer_id
        assert asyncio.get_running_loop().time() - started_at < 0.1

"""``embed`` from the call to the vectors, in a network in memory."""

import struct

from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.sdk.scripted_node import PROMPT_TOKENS, ScriptedNode
from tests.sdk.world import World

MODEL = "all-minilm-l6-v2"


def _add(world: World, *values: float, region: Region = Region.ASIA, cut_after: int | None = None) -> ScriptedNode:
    vectors = struct.pack(f"<{len(values)}f", *values)
    return world.add_node(model=MODEL, task=Task.EMBEDDING, region=region, vectors=vectors, cut_after=cut_after)


async def test_one_vector_a_text(world: World) -> None:
    """In their order, with what they cost."""
    node = _add(world, 1.0, 2.0, 3.0, 4.0)
    async with world.client() as client:
        result = await client.embed(["one", "two"], model=MODEL)
    assert result.vectors == ((1.0, 2.0), (3.0, 4.0))
    assert (result.tokens, result.route.node, result.receipt.verified) == (PROMPT_TOKENS, node.peer_id, True)


async def test_vectors_of_a_node_that_did_not_end_them(world: World) -> None:
    """Are dropped: those of the node whose receipt covers them count."""
    failing = _add(world, 9.0, 9.0, 9.0, cut_after=0)
    good = _add(world, 1.0, 2.0, region=Region.EUROPE)
    good.queued = 4  # the other one is asked first
    async with world.client() as client:
        result = await client.embed("one", model=MODEL)
    assert [attempt.node for attempt in result.route.failed] == [failing.peer_id]
    assert result.route.node == good.peer_id
    assert result.vectors == ((1.0, 2.0),)

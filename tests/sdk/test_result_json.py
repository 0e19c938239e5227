"""What every --json object says of a job."""

import json

from gpunode import AsyncInferenceClient
from gpunode.result_json import job_as_json
from gpunode_protocol.regions import Region

from tests.sdk.world import HELLO, World


async def test_a_job_is_told_with_its_route_and_receipt(world: World) -> None:
    """Plain JSON values; nodes that failed before are named."""
    node = world.add_node()
    async with world.client() as client:
        result = await client.chat(messages=HELLO)
    told = json.loads(json.dumps(job_as_json(result)))
    assert set(told) == {"model", "finish_reason", "route", "found_ms", "ttft_ms", "receipt"}
    assert told["receipt"] == {"id": result.receipt.id, "verified": True}
    assert (told["route"]["node_id"], told["route"]["failed"]) == (node.peer_id, [])


async def test_an_answer_that_was_cut_is_told_part_by_part(world: World) -> None:
    """Who gave how much of it where, why it ended there, and who was tried in vain."""
    first = world.add_node(cut_after=2)
    second = world.add_node(region=Region.EUROPE)
    second.queued = 4
    async with AsyncInferenceClient.from_config(world.config(), world.surroundings(resume_for_s=15.0)) as client:
        result = await client.chat(messages=HELLO)
    route = json.loads(json.dumps(job_as_json(result)))["route"]
    reason = result.route.failed[0].reason
    assert route["failed"] == [{"node_id": first.peer_id, "region": "asia", "reason": reason}]
    assert route["segments"] == [
        {"node_id": first.peer_id, "region": "asia", "output_units": 2, "ended": reason},
        {"node_id": second.peer_id, "region": "europe", "output_units": 2, "ended": "done"},
    ]

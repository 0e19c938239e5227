"""What every --json object says of a job."""

import json

from gpunode.result_json import job_as_json

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

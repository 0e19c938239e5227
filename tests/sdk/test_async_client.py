from gpunode_protocol.receipt_checks import check_pair

from tests.sdk.world import HELLO, MODEL, World


async def test_an_answer_is_whole_and_verified(world: World) -> None:
    """Text, usage, receipt and route of a plain answer."""
    node = world.add_node()
    async with world.client(region="asia") as client:
        answer = await client.chat(messages=HELLO)
    assert answer.response == "Paris is the capital."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 4)
    assert answer.model == MODEL
    assert answer.finish_reason == "stop"
    assert answer.receipt.verified
    assert (answer.route.node, answer.route.region, answer.route.path) == (node.peer_id, "asia", "direct")
    assert answer.route.source == "dht"
    assert answer.route.rtt_ms is not None
    assert node.jobs[0].is_settled
    check_pair(answer.receipt.receipt.envelope, answer.receipt.voucher.envelope)

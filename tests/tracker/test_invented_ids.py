"""A client that claims to have received tokens which no node sent: from its request to what its account has paid."""

from pathlib import Path

from gpunode_node.job_services import NetworkView
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.requests import Resume
from gpunode_protocol.tasks import Task

from tests.engines.fake_engine import FakeEngine
from tests.node.job_client import JobClient, ask
from tests.node.world import CLIENT, EPOCH, NODE, Node, llm_params, request, running_node
from tests.tracker.conftest import World
from tests.tracker.parties import TestClock

PRICE = DEFAULT_PRICES.tasks[Task.LLM]
INVENTED = b"London is a"


async def _settled(world: World, node: Node, client: JobClient) -> int:
    """Submit what a job has left in the node's outbox; return what was paid for it, in micro-credits."""
    assert await node.registry.wait_ended(60)
    items = [item.item for item in await node.unsettled()]
    item = next(item for item in items if item.voucher == client.completed.voucher.envelope)
    assert item.receipt == client.completed.receipt.envelope
    (result,) = await world.settle(item)
    assert result.status == "settled"
    return result.paid_microcredits


async def test_ids_that_no_node_sent_are_paid_as_input(world: World, clock: TestClock, tmp_path: Path) -> None:
    """They are read like a prompt, so they cost what a prompt of their length costs: nothing is gained by them."""
    clock.now = EPOCH
    _, key = await world.account()
    grant = await world.grant(key, CLIENT, open_microcredits=1_000_000)
    earner = (await world.register(NODE)).token
    asked = {"network": world.network, "grant_token": grant.grant}
    async with running_node(tmp_path, FakeEngine(answer="Paris is nice.")) as node:
        node.view["view"] = NetworkView(trust=world.tracker.keys.trust, revocations=None, prices=DEFAULT_PRICES)
        honest = await ask(node, request(params=llm_params(max_tokens=1), **asked), jti=grant.jti)
        prompt_tokens = honest.accepted.prompt_tokens
        earlier = await _settled(world, node, honest)
        assert earlier == prompt_tokens * PRICE.input_microcredits + PRICE.output_microcredits
        resume = Resume(ids=tuple(INVENTED), text_offset=len(INVENTED), prompt_digest=honest.accepted.prompt_digest)
        fingerprint = node.engine.info.fingerprint
        lying = await ask(node, request(resume=resume, fingerprint=fingerprint, **asked), jti=grant.jti)
        assert lying.text == "Paris is nice."[len(INVENTED) :]
        usage = lying.completed.usage
        assert (usage.input_tokens, usage.resumed_tokens) == (prompt_tokens, len(INVENTED))
        paid = await _settled(world, node, lying)
    units = prompt_tokens + len(INVENTED)
    assert paid == units * PRICE.input_microcredits + usage.output_tokens * PRICE.output_microcredits
    assert (await world.balance(token=earner)).spendable_microcredits == earlier + paid
    assert (await world.balance(key=key)).reserved_microcredits == 1_000_000 - earlier - paid

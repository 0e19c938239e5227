"""What a job came to, and which voucher the tracker gets."""

import asyncio
from pathlib import Path

from gpunode_engines.text_fake import FakeEngine
from gpunode_node.job_books import SETTLE_GRACE_S

from tests.node.job_client import JobClient, ask
from tests.node.virtual_time import virtual_time
from tests.node.world import Node, llm_params, request, running_node


def _spent(node: Node) -> int:
    return node.services.desk._admission.spent_microcredits("grant-1")


@virtual_time
async def test_the_cost_of_a_finished_job(tmp_path: Path) -> None:
    """Prompt and output at the network's prices replace the worst case."""
    async with running_node(tmp_path, FakeEngine(answer="Paris.")) as node:
        client = await ask(node, request())
        await node.registry.wait_ended(60)
        assert _spent(node) == client.completed.usage.input_tokens * 10 + 6 * 30


@virtual_time
async def test_the_cost_of_a_failed_job(tmp_path: Path) -> None:
    """What was sent counts against the grant even though nobody may pay for it."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 400)) as node:
        client = JobClient(node.connect(), request(params=llm_params(max_tokens=300)), vouches=False)
        await client.run()
        await node.registry.wait_ended(60)
        assert _spent(node) == 128 * 30
        assert await node.unsettled() == []


@virtual_time
async def test_a_late_final_voucher_still_counts(tmp_path: Path) -> None:
    """A client that comes back for a lost done settles for all of it."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 100, tokens_per_s=10)) as node:
        asked = request(params=llm_params(max_tokens=100))
        first = JobClient(node.connect(), asked)
        await first.run(until=lambda _: first.job.last_voucher is not None)
        first.vouches = False
        await first.run()
        await asyncio.sleep(SETTLE_GRACE_S + 12)
        (item,) = await node.unsettled()
        assert item.item.receipt is None
        again = await JobClient(node.connect(), asked, before=first.job).run()
        await asyncio.sleep(1)
        (item,) = await node.unsettled()
        assert item.item.receipt == again.completed.receipt.envelope


@virtual_time
async def test_a_drain_does_not_wait_for_clients_that_left(tmp_path: Path) -> None:
    """Without a stream no voucher can come any more."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 20, tokens_per_s=1)) as node:
        client = JobClient(node.connect(), request())
        await client.run(until=lambda event: hasattr(event, "ids"))
        await client.stream.close()
        node.registry.drain(2)
        started_at = asyncio.get_running_loop().time()
        assert await node.registry.wait_ended(60)
        assert asyncio.get_running_loop().time() - started_at < 4

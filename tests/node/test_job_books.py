"""What a job came to, and which voucher the tracker gets."""

import asyncio
from pathlib import Path

from gpunode_node.job_books import SETTLE_GRACE_S
from gpunode_protocol.signing import sign

from tests.engines.fake_engine import FakeEngine
from tests.node.job_client import JobClient, ask, refusal
from tests.node.virtual_time import virtual_time
from tests.node.world import CLIENT, Node, llm_params, request, running_node


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
async def test_a_voucher_after_the_books_are_closed_goes_to_the_tracker(tmp_path: Path) -> None:
    """A client that comes back late and vouches for more, but does not end it, cannot keep the node's claim back."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 100)) as node:
        asked = request(params=llm_params(max_tokens=100))
        silent = JobClient(node.connect(), asked, vouches=False)
        await silent.run()
        assert await node.registry.wait_ended(60)
        (run,) = node.registry._runs.values()
        final = silent.completed.voucher.body
        partial = final.model_copy(update={"final": False, "receipt": None, "input_count": 0})
        run.receive_voucher(sign(CLIENT, partial).envelope)
        await asyncio.sleep(1)
        (item,) = await node.unsettled()
        assert item.item.receipt is None


@virtual_time
async def test_a_segment_below_the_vouchers_is_refused(tmp_path: Path) -> None:
    """The client has vouched for all of the first segment; a second one from its middle is not worked on."""
    async with running_node(tmp_path, FakeEngine(answer="Paris.")) as node:
        asked = request()
        await ask(node, asked)
        await node.registry.wait_ended(60)
        refused = await refusal(node, request(job=asked.body.job, segment=1, start=3))
        assert refused.code == "replayed"
        assert (await ask(node, request(job=asked.body.job, segment=2, start=6))).completed


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

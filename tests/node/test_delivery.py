"""What a node waits for while it serves a job, and what not."""

import asyncio
from pathlib import Path

from gpunode_node.delivery import Delivery
from gpunode_protocol.errors import ErrorCode
from gpunode_protocol.vouchers import UNVOUCHED_LIMIT_TOKENS

from tests.engines.fake_engine import FakeEngine
from tests.node.virtual_time import virtual_time
from tests.node.world import CLIENT, llm_params, request, running_node

TOKENS = 3 * UNVOUCHED_LIMIT_TOKENS


@virtual_time
async def test_whole_jobs_run_without_vouchers(tmp_path: Path) -> None:
    """Far more tokens than a client on a stream may leave unvouched, and the books close at once."""
    async with running_node(tmp_path, FakeEngine(answer="x" * TOKENS), delivery=Delivery.WHOLE) as node:
        run = node.intake.open(request(params=llm_params(max_tokens=TOKENS)).envelope, CLIENT.peer_id)
        started_at = asyncio.get_running_loop().time()
        assert await node.registry.wait_ended(60)
        assert run.job.receipt is not None
        assert run.job.receipt.body.usage.output_tokens == TOKENS
        assert asyncio.get_running_loop().time() == started_at
        assert await node.unsettled() == []


@virtual_time
async def test_streamed_jobs_wait_for_vouchers(tmp_path: Path) -> None:
    """The same job on a stream whose client is silent ends without a receipt."""
    async with running_node(tmp_path, FakeEngine(answer="x" * TOKENS)) as node:
        run = node.intake.open(request(params=llm_params(max_tokens=TOKENS)).envelope, CLIENT.peer_id)
        assert await node.registry.wait_ended(60)
        assert run.job.error is not None
        assert run.job.error.code is ErrorCode.VOUCHER_OVERDUE

"""What happens to a job apart from its stream: see also ``test_job_session``."""

import asyncio
from pathlib import Path

import pytest
from gpunode_node.job_run import REATTACH_GRACE_S, JobRun
from gpunode_protocol.errors import ErrorCode
from gpunode_protocol.messages import AcceptedFrame

from tests.engines.fake_engine import FakeEngine
from tests.node.job_client import JobClient, ask, refusal
from tests.node.virtual_time import virtual_time
from tests.node.world import CLIENT, EPOCH, Node, llm_params, request, running_node


class _Reader:
    """An attachment that has sent nothing."""

    cursor = 0


def _start(node: Node, **changes: object) -> JobRun:
    return node.intake.open(request(**changes).envelope, CLIENT.peer_id)


@virtual_time
async def test_leaving_and_coming_back_starts_the_grace_anew(tmp_path: Path) -> None:
    """The grace counts from the last stream's end."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 99, tokens_per_s=1)) as node:
        run, reader = _start(node, params=llm_params(max_tokens=99)), _Reader()
        for _ in range(3):
            run.attach(reader)
            run.detach(reader)
            await asyncio.sleep(REATTACH_GRACE_S - 1)
        assert not run.job.is_over
        await asyncio.sleep(2)
        assert run.job.is_over


@virtual_time
async def test_an_old_streams_end_is_not_the_jobs(tmp_path: Path) -> None:
    """A stream that was replaced detaches without consequences."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 20, tokens_per_s=1)) as node:
        run, old, new = _start(node), _Reader(), _Reader()
        run.attach(old)
        run.attach(new)
        run.detach(old)
        assert run.is_attached(new)
        await asyncio.sleep(REATTACH_GRACE_S + 1)
        assert not run.job.is_over


@virtual_time
async def test_cancelled_before_it_was_accepted(tmp_path: Path) -> None:
    """There is no receipt then, and the request may come again."""
    engine = FakeEngine()
    prepare = engine.prepare

    async def slowly(order: object) -> object:
        await asyncio.sleep(5)
        return await prepare(order)  # type: ignore[arg-type]  # -- passed on

    engine.prepare = slowly  # type: ignore[method-assign,assignment]  # -- the test slows it down
    async with running_node(tmp_path, engine) as node:
        run = _start(node)
        run.cancel()
        assert await node.registry.wait_ended(1)
        assert run.job.error is not None
        assert run.job.error.code is ErrorCode.CANCELLED
        assert node.intake.open(run.request.envelope, CLIENT.peer_id) is not run


@virtual_time
async def test_a_deadline_in_the_queue(tmp_path: Path) -> None:
    """A job whose deadline passes while it waits is not begun."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 99, tokens_per_s=1, slots=1)) as node:
        first = JobClient(node.connect(), request(params=llm_params(max_tokens=99)))
        await first.run(until=lambda event: isinstance(event, AcceptedFrame))
        second = await ask(node, request(deadline_at=EPOCH + 10))
        assert second.error.code is ErrorCode.DEADLINE_PASSED
        assert node.model.scheduler.queued == 0


@virtual_time
async def test_a_slot_is_held_for_a_limited_time(tmp_path: Path) -> None:
    """The node's own limit counts from the start of the generation."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 999, tokens_per_s=1)) as node:
        client = await ask(node, request(params=llm_params(max_tokens=999)))
        assert client.error.code is ErrorCode.TIME_LIMIT
        assert 295 < len(client.text) <= 300
        assert node.engine.active_jobs == 0


@virtual_time
async def test_a_bug_becomes_an_internal_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The client hears of it, the log has the details, and nothing of it reaches the wire."""
    engine = FakeEngine()

    async def broken(_: object) -> object:
        raise ZeroDivisionError("secret detail")

    engine.prepare = broken  # type: ignore[method-assign,assignment]  # -- the test breaks it
    async with running_node(tmp_path, engine) as node:
        refused = await refusal(node, request())
        assert (refused.code, refused.retryable) == ("internal", True)
        assert "secret" not in refused.message
        assert "secret detail" in caplog.text


@virtual_time
async def test_a_job_waits_for_a_restarting_engine(tmp_path: Path) -> None:
    """Between preparation and generation the engine may be lost; the job starts when it is back."""
    back = asyncio.Event()

    class Restarting(FakeEngine):
        """Healthy from a moment on."""

        @property
        def healthy(self) -> bool:
            return back.is_set()

        async def wait_healthy(self) -> None:
            await back.wait()

    async with running_node(tmp_path, Restarting(answer="Paris.")) as node:
        asyncio.get_running_loop().call_later(7, back.set)
        client = await ask(node, request())
        assert client.text == "Paris."
        assert client.completed.receipt.body.ttft_ms >= 7_000

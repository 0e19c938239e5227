"""One pulled job by itself; ``test_daemon`` and ``test_faults`` have it in a whole worker."""

import asyncio
from pathlib import Path

import pytest
from gpunode_engines.errors import EngineCrashed
from gpunode_node.delivery import Delivery
from gpunode_node.pull.pulled_job import PulledJob
from gpunode_protocol.jobs_api import LEASE_S, NextJob, WorkerEvent
from gpunode_protocol.tasks import Task

from tests.engines.fake_engine import FakeEngine
from tests.node.pull.fake_queue import CHAT, envelope_of_garbage
from tests.node.virtual_time import virtual_time
from tests.node.world import Node, job_id, request, running_node


async def _hear(_: WorkerEvent) -> None:
    """Nobody listens."""


def _pulled(node: Node, attempt: int = 1) -> PulledJob:
    signed = request()
    given = NextJob(
        job_id=signed.body.job, type=Task.LLM, params=CHAT, attempt=attempt, lease_s=30, request=signed.envelope
    )
    return PulledJob(given, node.intake, _hear)


@virtual_time
async def test_its_end(tmp_path: Path) -> None:
    """All frames of the job, the attempt that it was, and how long it took; the node keeps no copy."""
    async with running_node(tmp_path, FakeEngine(answer="abc", tokens_per_s=1), delivery=Delivery.WHOLE) as node:
        job = _pulled(node, attempt=2)
        end = await job.run()
        assert end is not None
        assert (end.success, end.attempt, end.processing_time) == (True, 2, 3.0)
        assert end.transcript is not None
        assert node.registry._runs == {}
        assert (job.model, job.lease_s) == ("fake", 30)


@virtual_time
async def test_a_lost_job_has_no_end(tmp_path: Path) -> None:
    """The engine stops, and there is nothing to deliver."""
    async with running_node(tmp_path, FakeEngine(answer="abc" * 9, tokens_per_s=1), delivery=Delivery.WHOLE) as node:
        job = _pulled(node)
        running = asyncio.create_task(job.run())
        await asyncio.sleep(3)
        assert node.engine.active_jobs == 1
        job.lose()
        assert await running is None
        assert job.lost
        assert await node.registry.wait_ended(10)
        assert node.engine.active_jobs == 0


@virtual_time
async def test_a_job_that_is_lost_before_it_begins(tmp_path: Path) -> None:
    """It is not worked on to its end either."""
    async with running_node(tmp_path, FakeEngine(answer="abc", tokens_per_s=1), delivery=Delivery.WHOLE) as node:
        job = _pulled(node)
        job.lose()
        assert await job.run() is None


@virtual_time
async def test_the_same_job_again(tmp_path: Path) -> None:
    """Another attempt is another segment, with a request of its own; the same request twice is a replay."""
    async with running_node(tmp_path, delivery=Delivery.WHOLE) as node:
        signed = request()
        given = NextJob(job_id=signed.body.job, type=Task.LLM, params=CHAT, attempt=1, request=signed.envelope)
        first = await PulledJob(given, node.intake, _hear).run()
        second = await PulledJob(given, node.intake, _hear).run()
        third = request(job=signed.body.job, segment=1)
        again = given.model_copy(update={"request": third.envelope, "attempt": 2})
        last = await PulledJob(again, node.intake, _hear).run()
        ends = [(end.success, end.error) for end in (first, second, last) if end is not None]
        assert [success for success, _ in ends] == [True, False, True]
        assert "replayed" in ends[1][1]


@virtual_time
async def test_the_model_is_the_requests(tmp_path: Path) -> None:
    """Where it cannot be read, what the tracker says beside it; a lease is as long as usual where it says nothing."""
    async with running_node(tmp_path) as node:
        given = NextJob(job_id=job_id(1), model="other", request=envelope_of_garbage())
        assert PulledJob(given, node.intake, _hear).model == "other"
        plain = PulledJob(NextJob(job_id=job_id(1)), node.intake, _hear)
        assert (plain.model, plain.lease_s, plain.attempt) == ("", LEASE_S, None)


@pytest.mark.parametrize(("catalogue_context_tokens", "retryable"), [(0, False), (16, False), (4_096, True)])
@virtual_time
async def test_a_prompt_that_is_too_long(tmp_path: Path, catalogue_context_tokens: int, retryable: bool) -> None:
    """For the model: nobody else need try. For what this worker has of its context: somebody else may."""
    async with running_node(tmp_path, FakeEngine(context_tokens=16), delivery=Delivery.WHOLE) as node:
        (model,) = node.intake.models
        model.catalogue_context_tokens = catalogue_context_tokens
        end = await _pulled(node).run()
        assert end is not None
        assert (end.success, end.retryable) == (False, retryable)
        assert "context_overflow" in end.error


@virtual_time
async def test_an_engine_that_fails(tmp_path: Path) -> None:
    """Somebody else may have better luck."""
    async with running_node(tmp_path, FakeEngine(answer="abc", stepped=True), delivery=Delivery.WHOLE) as node:
        running = asyncio.create_task(_pulled(node).run())
        await asyncio.sleep(1)
        await node.engine.crash(EngineCrashed())
        end = await running
        assert end is not None
        assert (end.success, end.retryable) == (False, True)

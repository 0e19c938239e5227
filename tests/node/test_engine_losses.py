"""Jobs that cost a node its engine."""

from pathlib import Path

import pytest
from gpunode_engines.errors import (
    EngineCrashed,
    EngineError,
    EngineHung,
    EngineStartFailed,
    EngineStopped,
    MemoryLimit,
    OutOfMemory,
)
from gpunode_node.engine_losses import _MOST_REMEMBERED, EngineLosses
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.messages import TokensFrame

from tests.engines.fake_engine import FakeEngine
from tests.node.job_client import JobClient, refusal
from tests.node.virtual_time import virtual_time
from tests.node.world import job_id, request, running_node


@virtual_time
async def test_a_job_that_crashes_the_engine_twice_is_not_tried_a_third_time(tmp_path: Path) -> None:
    """Others may try it, and this node goes on with other jobs."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 20, tokens_per_s=1)) as node:
        job = job_id(900)
        for segment in range(2):
            client = JobClient(node.connect(), request(job=job, segment=segment))
            await client.run(until=lambda event: isinstance(event, TokensFrame))
            await node.engine.crash()
            await client.run()
            assert client.error.code is ErrorCode.ENGINE_FAILED
        refused = await refusal(node, request(job=job, segment=2))
        assert (refused.code, refused.retryable) == (ErrorCode.INVALID_PARAMETERS, True)
        assert "lost 2 times while it worked on this job" in refused.message
        assert (await JobClient(node.connect(), request()).run()).completed


@virtual_time
async def test_a_job_that_does_not_obey_its_end_counts_too(tmp_path: Path) -> None:
    """Cancelled, or out of time: its client knows nothing of the engine that was lost with it afterwards."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 20, tokens_per_s=1)) as node:
        job = job_id(900)
        for segment in range(2):
            asked = request(job=job, segment=segment)
            client = JobClient(node.connect(), asked, vouches=False)
            await client.run(until=lambda event: isinstance(event, TokensFrame))
            node.engine.loss = EngineHung("not cancelled within 30 s")
            node.engine.loss.blamed = f"{asked.body.client}/{job}/{segment}"
            client.job.cancel()
            assert (await client.run()).completed
        refused = await refusal(node, request(job=job, segment=2))
        assert "lost 2 times while it worked on this job" in refused.message
        assert (await JobClient(node.connect(), request()).run()).completed


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (EngineCrashed("gone"), True),
        (EngineHung("silent"), True),
        (MemoryLimit("large"), True),
        (EngineStopped("on purpose"), False),
        (EngineStartFailed("no file"), False),
        (OutOfMemory("the engine lives"), False),
    ],
)
def test_what_counts(error: EngineError, *, counts: bool) -> None:
    """Only what became of the engine while it worked."""
    losses, asked = EngineLosses(), request().body
    for _ in range(2):
        losses.note(asked, "key", error)
    if not counts:
        losses.check(asked)
        return
    with pytest.raises(JobError):
        losses.check(asked)


@pytest.mark.parametrize(("blamed", "counts"), [("key", True), ("another", False)])
def test_who_only_ran_beside_it_is_not_blamed(blamed: str, *, counts: bool) -> None:
    """Where it is known which job stood still."""
    losses, asked = EngineLosses(), request().body
    hung = EngineHung("stood still")
    hung.blamed = blamed
    for _ in range(2):
        losses.note(asked, "key", hung)
    if not counts:
        losses.check(asked)
        return
    with pytest.raises(JobError):
        losses.check(asked)


def test_it_does_not_grow() -> None:
    """The oldest jobs are forgotten."""
    losses, first = EngineLosses(), request().body
    for asked in (first, *(request().body for _ in range(_MOST_REMEMBERED))):
        for _ in range(2):
            losses.note(asked, "key", EngineCrashed("gone"))
    losses.check(first)

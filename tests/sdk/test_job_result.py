"""What every result states, taken from a job that is done."""

import pytest
from gpunode._job_result import WholeJobs
from gpunode._job_wish import JobWish
from gpunode._open_calls import OpenCalls
from gpunode._session import Session
from gpunode.errors import NoNodeFound
from gpunode_protocol.client_job import Completed, JobEvent
from gpunode_protocol.messages import AcceptedFrame, TokensFrame
from gpunode_protocol.payloads import LlmParams
from gpunode_protocol.tasks import Task

from tests.sdk.world import HELLO, MODEL, World

PARAMS = LlmParams.from_map({"messages": tuple(HELLO), "max_tokens": 16})


async def test_events_are_seen_in_order_and_the_facts_verified(world: World) -> None:
    """The end is the last event, and the route names who answered."""
    node = world.add_node()
    seen: list[JobEvent] = []
    async with world.client() as client:
        session: Session = client._session
        wish = JobWish(Task.LLM, PARAMS)
        ticks = iter((10.0, 12.5))
        jobs = WholeJobs(session.start_job, OpenCalls(), monotonic=lambda: next(ticks))
        done, facts = await jobs.run(wish, seen.append)
    assert isinstance(seen[0], AcceptedFrame)
    assert isinstance(seen[-1], Completed)
    assert sum(isinstance(event, TokensFrame) for event in seen) == 4
    assert facts["receipt"].id == done.receipt.digest.hex()
    assert (facts["model"], facts["finish_reason"], facts["duration_ms"]) == (MODEL, "stop", 2_500.0)
    assert facts["route"].node == node.peer_id


async def test_a_job_that_finds_nobody(world: World) -> None:
    """Its error reaches the caller."""
    async with world.client() as client:
        session: Session = client._session
        jobs = WholeJobs(session.start_job, OpenCalls(), monotonic=lambda: 0.0)
        with pytest.raises(NoNodeFound):
            await jobs.run(JobWish(Task.LLM, PARAMS), print)

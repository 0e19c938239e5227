"""Tokens from the engine to the job's frames: pace is tested in ``test_job_session``, other events here."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from gpunode_engines.base import Event, Finished, GenerateRequest, Progress, Segment, Tokens
from gpunode_node.bell import Bell
from gpunode_node.delivery import Delivery
from gpunode_node.output_relay import OutputRelay
from gpunode_node.scheduler import Ticket
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.node_job import NodeJob
from gpunode_protocol.node_stream import MAX_UNSENT_BYTES
from gpunode_protocol.vouchers import UNVOUCHED_LIMIT_TOKENS

from tests.node.virtual_time import virtual_time
from tests.node.world import NODE, grant, llm_params, request

ORDER = GenerateRequest(job_key="k", prompt_ids=(1,), max_tokens=5)
DONE = Finished(reason="stop", prompt_tokens=1, output_tokens=1)


class _Script:
    """An engine that gives the events of a list."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.closed = False

    async def generate(self, _: GenerateRequest) -> AsyncGenerator[Event, None]:
        try:
            for event in self.events:
                yield event
        finally:
            self.closed = True


class _Relay:
    """A relay with its surroundings."""

    def __init__(self, delivery: Delivery = Delivery.STREAM) -> None:
        self.unsent = 0
        self.delivery = delivery
        self.bell = Bell()
        self.job = NodeJob(NODE, request(params=llm_params(max_tokens=512)), grant(), arrived_at=0)
        self.ticket = Ticket(0, 1, 5, lambda: None, lambda *_: None)

    async def run(self, engine: Any) -> str:
        relay = OutputRelay(
            job=self.job,
            params=self.job.request.body.read_params(),
            ticket=self.ticket,
            bell=self.bell,
            delivery=self.delivery,
            unsent_bytes=lambda: self.unsent,
            clock=asyncio.get_running_loop().time,
        )
        return await relay.run(engine, ORDER)


@virtual_time
async def test_tokens_and_progress() -> None:
    """Tokens become frames and count for the estimate; progress of the prompt is not output."""
    relay = _Relay()
    assert (
        await relay.run(
            _Script(Progress(step=0, total=2), Progress(step=1, total=2), Tokens(ids=(5, 6), text="ab"), DONE)
        )
        == "stop"
    )
    assert (len(relay.job.frames), relay.ticket.produced_units) == (1, 2)


@virtual_time
async def test_other_output_and_no_end() -> None:
    """An engine that breaks its contract fails the job, and is closed."""
    for engine in (_Script(Segment(start_ms=0, end_ms=1, text="a")), _Script(Tokens(ids=(1,), text="a"))):
        with pytest.raises(JobError) as caught:
            await _Relay().run(engine)
        assert caught.value.code is ErrorCode.ENGINE_FAILED
        assert engine.closed


@virtual_time
async def test_a_client_that_does_not_read() -> None:
    """Beyond 256 KiB unsent nothing more is taken from the engine until something was sent."""
    relay = _Relay()
    relay.unsent = MAX_UNSENT_BYTES + 1
    running = asyncio.create_task(relay.run(_Script(Tokens(ids=(1,), text="a"), DONE)))
    await asyncio.sleep(1_000)
    assert relay.job.frames == []
    relay.unsent = 0
    relay.bell.ring()
    assert await running == "stop"


@virtual_time
async def test_output_that_is_delivered_whole() -> None:
    """Nobody vouches or reads meanwhile, so nothing is waited for: neither after 128 tokens nor beyond 256 KiB."""
    relay = _Relay(Delivery.WHOLE)
    relay.unsent = MAX_UNSENT_BYTES + 1
    tokens = [Tokens(ids=(number,), text="a") for number in range(UNVOUCHED_LIMIT_TOKENS + 10)]
    started_at = asyncio.get_running_loop().time()
    assert await relay.run(_Script(*tokens, DONE)) == "stop"
    assert relay.job.output.count == UNVOUCHED_LIMIT_TOKENS + 10
    assert asyncio.get_running_loop().time() == started_at

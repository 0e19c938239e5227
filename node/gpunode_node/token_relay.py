"""From the engine to the wire: tokens as they come, no faster than the client reads and vouches."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from gpunode_engines.base import Blob, Engine, Finished, GenerateRequest, Progress, Segment, Tokens
from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.node_job import NodeJob
from gpunode_protocol.node_stream import MAX_UNSENT_BYTES

from gpunode_node.bell import Bell
from gpunode_node.llm_jobs import wire_logprobs
from gpunode_node.scheduler import Ticket

VOUCHER_PATIENCE_S = 10.0
"""A job whose client vouches for nothing while 128 tokens wait ends after this."""


@dataclass(frozen=True, kw_only=True)
class TokenRelay:
    """Relays one job.

    Args:
        job: written to.
        ticket: learns how much was produced.
        bell: rung at each frame; rings when a voucher came or frames were sent.
        unsent_bytes: what the client's stream has not taken yet.
        clock: monotonic seconds.
    """

    job: NodeJob
    ticket: Ticket
    bell: Bell
    unsent_bytes: Callable[[], int]
    clock: Callable[[], float]

    async def run(self, engine: Engine, order: GenerateRequest) -> str:
        """Relay until the engine is done; return the finish reason. Cancelling this cancels the engine's job.

        Raises:
            EngineError: from the engine. JobError: ``voucher_overdue`` or ``engine_failed``.
        """
        async with contextlib.aclosing(engine.generate(order)) as events:
            async for event in events:
                match event:
                    case Finished(reason=reason):
                        return reason
                    case Tokens():
                        await self._relay(event)
                    case Progress():
                        pass  # of the prompt; pings tell the client enough
                    case Segment() | Blob():
                        raise job_error(ErrorCode.ENGINE_FAILED, "The engine gave output of another task.")
                    case _:
                        assert_never(event)
        raise job_error(ErrorCode.ENGINE_FAILED, "The engine ended without finishing the job.")

    async def _relay(self, event: Tokens) -> None:
        await self._wait_for_vouchers()
        while self.unsent_bytes() > MAX_UNSENT_BYTES:  # whoever sends them gives up a client that does not read
            await self.bell.wait()
        self.job.tokens(event.ids, event.text, now=self.clock(), logprobs=wire_logprobs(event))
        self.ticket.produced_units = self.job.output.count
        self.bell.ring()

    async def _wait_for_vouchers(self) -> None:
        overdue_at = self.clock() + VOUCHER_PATIENCE_S
        while not self.job.may_produce:
            if self.clock() >= overdue_at:
                unvouched = self.job.output.count - self.job.vouched_count
                raise job_error(
                    ErrorCode.VOUCHER_OVERDUE,
                    f"{unvouched} tokens were not vouched for within {VOUCHER_PATIENCE_S:g} s.",
                )
            await self.bell.wait(overdue_at - self.clock())

"""From the engine to the wire: output as it comes, no faster than the client reads and vouches."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

from gpunode_engines.base import Blob, Engine, Event, Finished, Progress, Segment, Tokens, WorkRequest
from gpunode_protocol import blobs
from gpunode_protocol.errors import ErrorCode, GpunodeError, JobError, job_error
from gpunode_protocol.messages import SegmentFrame, Word
from gpunode_protocol.node_job import NodeJob
from gpunode_protocol.node_stream import MAX_UNSENT_BYTES
from gpunode_protocol.payloads import ImageParams, LlmParams, Params

from gpunode_node.bell import Bell
from gpunode_node.delivery import Delivery
from gpunode_node.llm_work import wire_logprobs
from gpunode_node.scheduler import Ticket

VOUCHER_PATIENCE_S = 10.0
"""A job whose client vouches for nothing while 128 tokens wait ends after this."""


@dataclass(frozen=True, kw_only=True)
class OutputRelay:
    """Relays one job.

    Args:
        job: written to.
        params: the job's, which say what a picture counts.
        ticket: learns how much was produced.
        bell: rung at each frame; rings when a voucher came or frames were sent.
        delivery: whether a client is waited for at all.
        unsent_bytes: what the client's stream has not taken yet.
        clock: monotonic seconds.
    """

    job: NodeJob
    params: Params
    ticket: Ticket
    bell: Bell
    delivery: Delivery
    unsent_bytes: Callable[[], int]
    clock: Callable[[], float]
    _pieces: dict[int, bytearray] = field(default_factory=dict, init=False)

    async def run(self, engine: Engine, order: WorkRequest) -> str:
        """Relay until the engine is done; return the finish reason. Cancelling this cancels the engine's job.

        Raises:
            EngineError: from the engine. JobError: ``voucher_overdue`` or ``engine_failed``.
        """
        async with contextlib.aclosing(engine.generate(order)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.reason
                await self._wait_for_the_client()
                self._write_checked(event)
        raise job_error(ErrorCode.ENGINE_FAILED, "The engine ended without finishing the job.")

    def _write_checked(self, event: Event) -> None:
        """Write an event; what the job cannot have (an engine is not trusted) is the engine's failure."""
        try:
            self._write(event)
        except JobError:
            raise
        except GpunodeError as error:
            raise job_error(ErrorCode.ENGINE_FAILED, f"The engine gave output of another job: {error}") from error
        self.ticket.produced_units = self.job.output.work
        self.bell.ring()

    def _write(self, event: Event) -> None:
        match event:
            case Tokens():
                self.job.tokens(event.ids, event.text, now=self.clock(), logprobs=wire_logprobs(event))
            case Progress(step=0):
                pass  # nothing is done yet: the client goes on waiting for the first sign of work
            case Progress() if not isinstance(self.params, LlmParams):
                self.job.progress(event.step, event.total, event.preview or None)
            case Segment():
                self.job.segment(_wire_segment(event), now=self.clock())
            case Blob():
                self._collect(event)
            case Progress() | Finished():
                pass  # progress of a prompt: pings tell the client enough
            case _:
                assert_never(event)

    def _collect(self, event: Blob) -> None:
        """Put pieces together; a whole blob goes out at once, for its digest covers all of it."""
        data = self._pieces.setdefault(event.index, bytearray())
        if event.offset != len(data) or event.offset + len(event.data) > event.total_bytes:
            raise job_error(ErrorCode.ENGINE_FAILED, "The engine gave the pieces of a result out of order.")
        data += event.data
        if len(data) == event.total_bytes:
            units = self.params.units_per_image() if isinstance(self.params, ImageParams) else 0
            whole = blobs.Blob(event.index, event.media_type, bytes(data), units)
            self._pieces[event.index] = bytearray()
            self.job.blob(whole, now=self.clock())

    async def _wait_for_the_client(self) -> None:
        if self.delivery is Delivery.WHOLE:
            return
        await self._wait_for_vouchers()
        while self.unsent_bytes() > MAX_UNSENT_BYTES:  # whoever sends them gives up a client that does not read
            await self.bell.wait()

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


def _wire_segment(event: Segment) -> SegmentFrame:
    words = None
    if event.words is not None:
        words = tuple(Word(start_ms=word.start_ms, end_ms=word.end_ms, text=word.text) for word in event.words)
    return SegmentFrame(
        start_ms=event.start_ms, end_ms=event.end_ms, text=event.text, language=event.language or None, words=words
    )

"""The node's side of a job, sans-IO. A job outlives a stream: identical bytes of the same request re-attach to it.

The caller reads ``NodeJob.frames`` from where a stream stands and sends them, one write a frame; it stops taking
output from the engine while ``may_produce`` is false.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gpunode_protocol.blobs import Blob, blob_frames
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.errors import ErrorCode, JobError, ProtocolError, UnexpectedMessage, job_error
from gpunode_protocol.grants import Grant
from gpunode_protocol.identity import Identity, public_key_of
from gpunode_protocol.messages import (
    AcceptedFrame,
    DoneFrame,
    DrainingFrame,
    ErrorFrame,
    Frame,
    PingFrame,
    ProgressFrame,
    QueuedFrame,
    SegmentFrame,
    TokenLogprob,
    TokensFrame,
    encode_frame,
)
from gpunode_protocol.outputs import OutputLog, blob_digest
from gpunode_protocol.payloads import Usage
from gpunode_protocol.receipts import Receipt, recorded_parameters
from gpunode_protocol.requests import JobRequest, task_of
from gpunode_protocol.signing import Envelope, Signed, open_signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import UNVOUCHED_LIMIT_TOKENS, Voucher


@dataclass
class NodeJob:
    """One accepted job: its frames, its digest and the vouchers for it.

    Args:
        identity: the node's key, which signs the receipt.
        request: verified.
        grant: verified; its ``jti`` is what vouchers must name.
        arrived_at: monotonic seconds of the request's arrival.
    """

    identity: Identity
    request: Signed[JobRequest]
    grant: Grant
    arrived_at: float
    frames: list[bytes] = field(default_factory=list)
    last_voucher: Signed[Voucher] | None = None
    receipt: Signed[Receipt] | None = None
    error: JobError | None = None
    first_output_at: float | None = None
    _fingerprint: bytes = b""
    _input_count: int = 0
    _digests: dict[int, set[bytes]] = field(default_factory=dict)  # output count -> transcript digests at it

    def __post_init__(self) -> None:
        """Start counting output under the request's salt."""
        self.output = OutputLog(self.request.body.salt, self.request.body.read_params())
        self.task: Task = task_of(self.request.body.task)
        self._digests[0] = {self.output.digest()}

    @property
    def is_over(self) -> bool:
        """Whether ``done`` or ``error`` was written."""
        return self.receipt is not None or self.error is not None

    @property
    def is_settled(self) -> bool:
        """Whether the client's final voucher is here."""
        return self.last_voucher is not None and self.last_voucher.body.final

    @property
    def vouched_count(self) -> int:
        """Output units of this segment that the client vouched for."""
        return self.last_voucher.body.count if self.last_voucher else 0

    @property
    def may_produce(self) -> bool:
        """Whether the engine may go on: fewer than 128 tokens are not vouched for."""
        return self.task is not Task.LLM or self.output.count - self.vouched_count < UNVOUCHED_LIMIT_TOKENS

    def _refuse_after_the_end(self) -> None:
        if self.is_over:
            raise UnexpectedMessage("The job is over; nothing more can be sent.")

    def _write(self, message: Frame) -> None:
        self._refuse_after_the_end()
        self.frames.append(encode_frame(message))

    def _mark_output(self, now: float) -> None:
        self.first_output_at = now if self.first_output_at is None else self.first_output_at
        self._digests.setdefault(self.output.count, set()).add(self.output.digest())

    def accept(self, message: AcceptedFrame, *, input_count: int) -> None:
        """Write ``accepted``; ``input_count``: input units that will be billed (prompt and resumed ids)."""
        self._fingerprint, self._input_count = message.fingerprint, input_count
        self._write(message)

    def queued(self, position: int, eta_s: float) -> None:
        """Write ``queued``."""
        self._write(QueuedFrame(position=position, eta_s=eta_s))

    def ping(self) -> None:
        """Write ``ping``."""
        self._write(PingFrame())

    def draining(self, deadline_s: float) -> None:
        """Write ``draining``."""
        self._write(DrainingFrame(deadline_s=deadline_s))

    def progress(self, step: int, total: int, preview: bytes | None = None) -> None:
        """Write ``progress``."""
        self._refuse_after_the_end()
        self.output.add_progress(step, total)
        self._write(ProgressFrame(step=step, total=total, preview=preview))

    def tokens(
        self, ids: Sequence[int], text: str, *, now: float, logprobs: tuple[TokenLogprob, ...] | None = None
    ) -> None:
        """Write ``tokens``; ``now``: monotonic seconds."""
        message = TokensFrame(ids=tuple(ids), text=text, logprobs=logprobs)
        self._refuse_after_the_end()
        self.output.add_tokens(ids, text)
        self._write(message)
        self._mark_output(now)

    def segment(self, message: SegmentFrame, *, now: float) -> None:
        """Write a ``segment`` of speech."""
        self._refuse_after_the_end()
        self.output.add_segment(message.start_ms, message.end_ms, message.text)
        self._write(message)
        self._mark_output(now)

    def blob(self, blob: Blob, *, now: float) -> None:
        """Write an output blob."""
        self._refuse_after_the_end()
        self.output.add_blob(blob.id, blob_digest(self.request.body.salt, blob.data), blob.units)
        for piece in blob_frames(blob, self.request.body.salt):
            self._write(piece)
        self._mark_output(now)

    def fail(self, error: JobError) -> None:
        """Write ``error``; the job is over without a receipt."""
        self._write(ErrorFrame.of(error))
        self.error = error

    def finish(self, *, usage: Usage, finish_reason: str, now: float, finished_at: int) -> Signed[Receipt]:
        """Write ``done`` with the signed receipt.

        Args:
            usage: of this segment.
            finish_reason: ``stop``, ``length``, ``cancelled``, ``tool_calls``.
            now: monotonic seconds. finished_at: Unix seconds.

        Raises:
            UnexpectedMessage: the job is over, or was not accepted: then it can only ``fail``.
        """
        self._refuse_after_the_end()
        if not self._fingerprint:
            raise UnexpectedMessage("A job that was not accepted cannot be done.")
        body = self.request.body
        first = now if self.first_output_at is None else self.first_output_at
        receipt = sign(
            self.identity,
            Receipt(
                network=body.network,
                job=body.job,
                segment=body.segment,
                node=self.identity.peer_id,
                client=body.client,
                jti=self.grant.jti,
                task=self.task,
                model=body.model,
                fingerprint=self._fingerprint,
                request_digest=salted_digest(body.salt, "request", self.request.envelope.body),
                output_digest=self.output.digest(),
                parameters=recorded_parameters(body.params),
                usage=usage,
                start=body.start,
                ttft_ms=round(1000 * (first - self.arrived_at)),
                duration_ms=round(1000 * (now - self.arrived_at)),
                finish_reason=finish_reason,
                previous_voucher=self.last_voucher.digest if self.last_voucher else None,
                finished_at=finished_at,
            ),
        )
        self._write(
            DoneFrame(
                finish_reason=finish_reason, usage=usage, digest=receipt.body.output_digest, receipt=receipt.envelope
            )
        )
        self.receipt = receipt
        return receipt

    def receive_voucher(self, envelope: Envelope) -> Signed[Voucher] | None:
        """Check a voucher; return it when it promises more than the last one, None when it is that one or an older one.

        Raises:
            JobError: ``bad_voucher``: it contradicts what was sent.
        """
        if self.last_voucher is not None and envelope.body == self.last_voucher.envelope.body:
            return None
        try:
            voucher = open_signed(Voucher, envelope, public_key_of(self.request.body.client))
        except ProtocolError as error:
            raise job_error(ErrorCode.BAD_VOUCHER, f"The voucher does not verify: {error}") from error
        problem = self._voucher_problem(voucher.body)
        if problem:
            raise job_error(ErrorCode.BAD_VOUCHER, f"The voucher {problem}.")
        if self._is_late(voucher.body):
            return None
        self.last_voucher = voucher
        for count in [count for count in self._digests if count < voucher.body.count]:
            del self._digests[count]
        return voucher

    def _is_late(self, voucher: Voucher) -> bool:
        """Whether a larger one came first: a stream that was given up may deliver after the one that replaced it."""
        return not voucher.final and (self.is_settled or voucher.count < self.vouched_count)

    def _voucher_problem(self, voucher: Voucher) -> str | None:
        """Return what is wrong with a voucher's body, or None."""
        body = self.request.body
        expected = (body.network, body.job, body.segment, body.node, body.client, self.grant.jti, self.task, body.model)
        named = (
            voucher.network,
            voucher.job,
            voucher.segment,
            voucher.node,
            voucher.client,
            voucher.jti,
            voucher.task,
            voucher.model,
        )
        if named != expected or voucher.start != body.start or voucher.previous != body.previous_voucher:
            return "is for another job, segment, node or grant"
        if self._is_late(voucher):
            return None
        if self.is_settled or voucher.count < self.vouched_count:
            return "takes back what an earlier one promised"
        if voucher.digest not in self._digests.get(voucher.count, ()):
            return "is for output that was not sent like that"
        if not voucher.final:
            return None
        if self.receipt is None or voucher.receipt != self.receipt.digest:
            return "agrees with another receipt"
        if voucher.count != self.output.count or voucher.input_count != self._input_count:
            return "differs from the receipt's usage"
        return None

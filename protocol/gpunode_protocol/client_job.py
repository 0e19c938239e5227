"""The client's side of a job stream, sans-IO: bytes in, events out, vouchers and deadlines kept.

The caller opens a stream to the node and then, until ``is_over``:

- sends every item of ``data_to_send(now)`` with one write each (call again until it is empty);
- feeds what arrives to ``receive_data``, and the end of the stream to ``receive_eof``, or to ``receive_refusal`` if it
  has found out that the node's process has ended;
- calls ``on_timer`` at ``next_timer()`` (monotonic seconds) while it is reading. A caller that stops reading because
  its own consumer is slow must not run timers meanwhile, and calls ``reading_resumed`` before it goes on.

Only a valid ``done`` is an end: whatever else ends the stream is a ``Failed`` event. What comes after it is for
``receive_settled``: only the node's word says that it has the final voucher.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from gpunode_protocol.blobs import Blob, BlobAssembler, WrongBlobDigest, blob_frames
from gpunode_protocol.errors import ErrorCode, FalseFrame, GpunodeError, JobError, UnexpectedMessage, job_error
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.identity import Identity
from gpunode_protocol.messages import (
    NODE_FRAMES,
    AcceptedFrame,
    BlobFrame,
    CancelFrame,
    DoneFrame,
    DrainingFrame,
    ErrorFrame,
    Frame,
    PingFrame,
    ProgressFrame,
    QueuedFrame,
    RequestFrame,
    SegmentFrame,
    SettledFrame,
    TokensFrame,
    VoucherFrame,
    decode_frame,
    encode_frame,
)
from gpunode_protocol.outputs import OutputLog
from gpunode_protocol.patience import JobClock, Patience
from gpunode_protocol.payloads import Params, Usage, input_tokens_bound
from gpunode_protocol.prices import input_units
from gpunode_protocol.receipt_checks import Received, check_receipt
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.requests import JobRequest, task_of
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.vouchers import VOUCHER_INTERVAL_S, VOUCHER_INTERVAL_TOKENS, Voucher

MAX_OUTPUT_BYTES = 104_857_600


@dataclass(frozen=True)
class Completed:
    """The job is done and everything verified; the final voucher is in ``data_to_send``."""

    usage: Usage
    finish_reason: str
    receipt: Signed[Receipt]
    voucher: Signed[Voucher]


@dataclass(frozen=True)
class Failed:
    """The stream is of no more use. ``error`` says why; ``JobError.retryable`` whether another node may be tried.

    What the node says itself is ``ClientJob.error_told``. What is wrong with its frames is its own fault, never the
    request's: a ``FalseFrame``, or a ``ProtocolError``.
    """

    error: GpunodeError


JobEvent = (
    AcceptedFrame | QueuedFrame | TokensFrame | ProgressFrame | SegmentFrame | DrainingFrame | Blob | Completed | Failed
)

_REPORTED = (AcceptedFrame, QueuedFrame, TokensFrame, ProgressFrame, SegmentFrame, DrainingFrame)


@dataclass
class ClientJob:
    """One segment of a job at one node.

    Args:
        identity: the client's key, which signs vouchers.
        request: signed by the same key.
        jti: of the grant inside the request.
        opened_at: monotonic seconds.
        patience: deadlines.
        inputs: blobs that the parameters refer to, sent after ``accepted``.
        prompt_tokens: as a node with the same weights has counted them, None = nobody has. Who counts more is left.

    ``error_told``: the node's own error frame, None while there is none.
    """

    identity: Identity
    request: Signed[JobRequest]
    jti: str
    opened_at: float
    patience: Patience = field(default_factory=Patience)
    inputs: Sequence[Blob] = ()
    prompt_tokens: int | None = None

    accepted: AcceptedFrame | None = None
    error_told: JobError | None = None
    last_voucher: Signed[Voucher] | None = None
    is_over: bool = False
    cancelled: bool = False

    def __post_init__(self) -> None:
        """Queue the request frame and start the clocks."""
        body = self.request.body
        self.params: Params = body.read_params()
        self.task = task_of(body.task)
        self.output = OutputLog(body.salt, self.params)
        self._parser = FrameParser()
        self._blobs = BlobAssembler(body.salt, MAX_OUTPUT_BYTES)
        self._outgoing: list[bytes] = [encode_frame(RequestFrame(request=self.request.envelope))]
        self._uploads: Iterator[BlobFrame] | None = None
        self._sent_inputs = False
        self._voucher_digests: set[bytes] = set()
        # embeddings have no output units whose speed could be measured
        patience = self.patience if self.output.limit else replace(self.patience, min_units_per_s=0.0)
        self._clock = JobClock(patience, self.opened_at)
        self._vouched_at = self.opened_at

    @property
    def first_output_at(self) -> float | None:
        """Monotonic seconds of the first output or progress, None before it."""
        return self._clock.first_output_at

    @property
    def is_queued(self) -> bool:
        """Whether the node said that jobs are ahead of this one."""
        return self._clock.is_queued

    def reattached(self, opened_at: float) -> "ClientJob":
        """Return a machine for another stream to the same job, after this one's was cut: same request, same vouchers.

        The node says everything again from ``accepted`` on, so the caller shows only what lies beyond what it has.
        ``opened_at``: monotonic seconds of the new stream's opening.
        """
        inputs = () if self._sent_inputs else self.inputs
        job = ClientJob(self.identity, self.request, self.jti, opened_at, self.patience, inputs, self.prompt_tokens)
        job.last_voucher, job._voucher_digests = self.last_voucher, set(self._voucher_digests)
        if self.last_voucher is not None:  # it may have been lost with the stream, and the node be waiting for it
            job._outgoing.append(encode_frame(VoucherFrame(voucher=self.last_voucher.envelope)))
        return job

    # What the caller sends

    def data_to_send(self, now: float) -> list[bytes]:
        """Return frames to write now, one write each; at most one piece of a blob at a time. now: monotonic seconds."""
        outgoing, self._outgoing = self._outgoing, []
        if not outgoing:
            outgoing = self._next_upload(now)
        return outgoing

    def _next_upload(self, now: float) -> list[bytes]:
        if self._uploads is None:
            return []
        piece = next(self._uploads, None)
        if piece is None:
            self._uploads, self._sent_inputs = None, True
            self._clock.uploaded(now)
            return []
        self._clock.upload(now)
        return [encode_frame(piece)]

    def cancel(self, reason: str = "") -> None:
        """Ask the node to stop; it answers with ``done`` for what was sent so far. A second call changes nothing."""
        if not self.cancelled and not self.is_over:
            self.cancelled = True
            self._uploads = None
            self._clock.cancel()
            self._outgoing.append(encode_frame(CancelFrame(reason=reason)))

    def closing_voucher(self) -> Signed[Voucher] | None:
        """Return a voucher for all that was received, for the tracker, after a stream that ended without ``done``."""
        if self.output.count > (self.last_voucher.body.count if self.last_voucher else 0):
            self._vouch(final=None)
        return self.last_voucher

    # What arrives

    def receive_data(self, data: bytes, now: float) -> list[JobEvent]:
        """Return the events in received bytes; ``now``: monotonic seconds."""
        return [] if self.is_over else self._read(data, now)

    def _read(self, data: bytes, now: float) -> list[JobEvent]:
        events: list[JobEvent] = []
        try:
            for payload in self._parser.feed(data):
                if self.is_over:
                    break
                self._clock.heard(now)
                event = self._event(decode_frame(payload, NODE_FRAMES), now)
                if event is not None:
                    events.append(event)
        except GpunodeError as error:
            events.append(self._fail(error))
        if not self.is_over:
            self._vouch_when_due(now)
        return events

    def receive_settled(self, data: bytes) -> bool:
        """Return whether received bytes, after the job's end, say that the node has the final voucher."""
        try:
            frames = [decode_frame(payload, NODE_FRAMES) for payload in self._parser.feed(data)]
        except GpunodeError:
            return False
        return any(isinstance(message, SettledFrame) for message in frames)

    def receive_eof(self) -> list[JobEvent]:
        """Report the stream's end: a failure unless ``done`` came before it (a cut stream looks finished)."""
        if self.is_over:
            return []
        return [self._fail(job_error(ErrorCode.INTERNAL, "The node's stream ended before the answer was complete."))]

    def receive_refusal(self) -> list[JobEvent]:
        """Report that the node refuses connections: its process has ended, and the stream with it."""
        if self.is_over:
            return []
        return [self._fail(job_error(ErrorCode.INTERNAL, "The node's process has ended: it refuses connections."))]

    def _fail(self, error: GpunodeError) -> Failed:
        self.is_over = True
        return Failed(error)

    def _event(self, message: Frame, now: float) -> JobEvent | None:
        if self.accepted is None and not isinstance(message, AcceptedFrame | ErrorFrame | PingFrame | DrainingFrame):
            raise UnexpectedMessage("The node sent output before it accepted the job.")
        match message:
            case AcceptedFrame():
                self._accept(message, now)
            case QueuedFrame():
                self._clock.moved(now, message.position)
            case TokensFrame():
                self.output.add_tokens(message.ids, message.text)
                self._mark_output(now)
            case SegmentFrame():
                self.output.add_segment(message.start_ms, message.end_ms, message.text)
                self._mark_output(now)
            case ProgressFrame():
                self.output.add_progress(message.step, message.total)
                self._mark_output(now)
            case BlobFrame():
                return self._receive_blob(message, now)
            case DoneFrame() if self.accepted is not None:
                return self._complete(message, self.accepted)
            case ErrorFrame():
                self.error_told = message.to_error()
                return self._fail(self.error_told)
        return message if isinstance(message, _REPORTED) else None

    def _accept(self, message: AcceptedFrame, now: float) -> None:
        if self.accepted is not None:
            raise UnexpectedMessage("The node accepted the job twice.")
        body = self.request.body
        bound = input_tokens_bound(self.params)
        if message.prompt_tokens > bound:
            raise FalseFrame(
                f"The node quotes {message.prompt_tokens} prompt tokens; this prompt cannot have more than {bound}.",
                fault="bad_usage",
            )
        if body.fingerprint is not None and message.fingerprint != body.fingerprint:
            raise job_error(ErrorCode.FINGERPRINT_MISMATCH, "The node serves other weights than it was asked for.")
        if body.resume is not None and message.prompt_digest != body.resume.prompt_digest:
            raise job_error(ErrorCode.RESUME_REFUSED, "The node renders another prompt than the one before.")
        if self.prompt_tokens is not None and message.prompt_tokens > self.prompt_tokens:
            raise job_error(ErrorCode.RESUME_REFUSED, "The node counts more prompt tokens than the one before.")
        self.accepted = message
        self._clock.accepted(now, message.position)
        if self.inputs and not self.cancelled:
            self._uploads = (piece for blob in self.inputs for piece in blob_frames(blob, body.salt))
            self._clock.upload(now)

    def _mark_output(self, now: float) -> None:
        if self.first_output_at is None:
            self._vouched_at = now
        self._clock.output(now, self.output.work)

    def _receive_blob(self, message: BlobFrame, now: float) -> Blob | None:
        self.output.check_blob(message.units)
        try:
            blob = self._blobs.add(message)
        except WrongBlobDigest as error:
            raise FalseFrame(f"Blob {message.id} of the node does not match its digest.", fault="bad_digest") from error
        except JobError as error:
            raise UnexpectedMessage(f"The node's blobs cannot be put together: {error.message}") from error
        if blob is not None:
            self.output.add_blob(blob.id, message.digest, blob.units)
        self._mark_output(now)
        return blob

    def _complete(self, message: DoneFrame, accepted: AcceptedFrame) -> Completed:
        received = Received(
            request=self.request,
            jti=self.jti,
            params=self.params,
            accepted=accepted,
            output=self.output,
            voucher_digests=frozenset(self._voucher_digests),
        )
        receipt = check_receipt(message, received)
        voucher = self._vouch(final=receipt)
        self.is_over = True
        return Completed(message.usage, message.finish_reason, receipt, voucher)

    # Vouchers and deadlines

    def _vouch(self, final: Signed[Receipt] | None) -> Signed[Voucher]:
        body = self.request.body
        voucher = sign(
            self.identity,
            Voucher(
                network=body.network,
                job=body.job,
                segment=body.segment,
                node=body.node,
                client=body.client,
                jti=self.jti,
                task=self.task,
                model=body.model,
                start=body.start,
                count=self.output.count,
                input_count=input_units(self.task, final.body.usage) if final else 0,
                digest=self.output.digest(),
                final=final is not None,
                receipt=final.digest if final else None,
                previous=body.previous_voucher,
            ),
        )
        self.last_voucher = voucher
        self._voucher_digests.add(voucher.digest)
        self._outgoing.append(encode_frame(VoucherFrame(voucher=voucher.envelope)))
        return voucher

    def _unvouched(self) -> int:
        return self.output.count - (self.last_voucher.body.count if self.last_voucher else 0)

    def _vouch_when_due(self, now: float) -> None:
        unvouched = self._unvouched()
        if unvouched >= VOUCHER_INTERVAL_TOKENS or (unvouched > 0 and now >= self._vouched_at + VOUCHER_INTERVAL_S):
            self._vouch(final=None)
            self._vouched_at = now

    def next_timer(self) -> float | None:
        """Return the monotonic instant at which ``on_timer`` is due, None when the job is over."""
        if self.is_over:
            return None
        at = self._clock.next_at()
        return min(at, self._vouched_at + VOUCHER_INTERVAL_S) if self._unvouched() > 0 else at

    def on_timer(self, now: float) -> list[JobEvent]:
        """Vouch, or give the node up, as the deadlines say; ``now``: monotonic seconds."""
        if self.is_over:
            return []
        problem = self._clock.problem(now, self.output.work)
        if problem is not None:
            return [self._fail(problem)]
        self._vouch_when_due(now)
        return []

    def reading_resumed(self, now: float) -> None:
        """Begin all waiting anew after a time in which the caller did not read; ``now``: monotonic seconds."""
        self._clock.resume(now, self.output.work)

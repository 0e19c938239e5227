"""The frames of a job stream (``/gpunode/1/job``) and of a probe (``/gpunode/1/probe``).

::

    client -> node   request  blob  voucher  cancel
    node -> client   accepted  queued  tokens  progress  segment  blob  done  error  draining  ping  settled

A frame is one msgpack map with the key ``type``; unknown keys are ignored, an unknown type is answered with an error.
"""

from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import FailFast, Field

from gpunode_protocol.errors import ErrorCode, JobError, MalformedMessage, UnexpectedMessage
from gpunode_protocol.framing import frame
from gpunode_protocol.payloads import Usage
from gpunode_protocol.safe_msgpack import pack, unpack
from gpunode_protocol.signing import Envelope, WireModel
from gpunode_protocol.validation import Count, Digest, Fingerprint, PositiveCount

JOB_PROTOCOL = "/gpunode/1/job"
PROBE_PROTOCOL = "/gpunode/1/probe"

MAX_BLOB_CHUNK_BYTES = 262_144
MAX_PREVIEW_BYTES = 16_384
PING_INTERVAL_S = 2.0
"""A node that has nothing else to send sends ``ping`` this often."""
LIVENESS_TIMEOUT_S = 5.0
"""A client gives a stream up when no frame at all came for this long."""

TokenId = Annotated[int, Ge(0), Le(2**32 - 1)]
TokenIds = Annotated[tuple[TokenId, ...], FailFast()]
Seconds = Annotated[float, Ge(0), Le(1e9)]
LogProb = Annotated[float, Field(allow_inf_nan=False)]
MAX_DETAILS = 4_096
"""Log-probabilities or words in one frame."""


class Frame(WireModel):
    """Base of all frames."""

    frame_type: ClassVar[str]


class RequestFrame(Frame):
    """Opens a job: the signed ``JobRequest``. The first frame, within 10 s of the stream's opening."""

    frame_type: ClassVar[str] = "request"
    request: Envelope


class BlobFrame(Frame):
    """A piece of a larger input or output, in order. ``total_bytes`` and ``digest`` are those of the whole blob."""

    frame_type: ClassVar[str] = "blob"
    id: Annotated[int, Ge(0), Le(255)]
    media_type: Annotated[str, MinLen(3), MaxLen(100)]
    total_bytes: Annotated[int, Ge(1), Le(104_857_600)]
    offset: Count
    digest: Digest
    data: Annotated[bytes, MinLen(1), MaxLen(MAX_BLOB_CHUNK_BYTES)]
    units: Count = 0
    """Output units that this blob completes (image_gen), counted with its last piece."""


class VoucherFrame(Frame):
    """The client's signed, cumulative promise to pay for what it received."""

    frame_type: ClassVar[str] = "voucher"
    voucher: Envelope


class CancelFrame(Frame):
    """Stop. The node ends with ``done`` of reason ``cancelled``; what was received is vouched for."""

    frame_type: ClassVar[str] = "cancel"
    reason: Annotated[str, MaxLen(200)] = ""


class AcceptedFrame(Frame):
    """The node took the job.

    prompt_tokens: what will be billed as input. position: jobs ahead. eta_s: seconds until the first output, honest.
    prompt_digest: ``salted_digest(salt, "prompt", rendered prompt)``.
    """

    frame_type: ClassVar[str] = "accepted"
    prompt_tokens: Count
    position: Count
    eta_s: Seconds
    fingerprint: Fingerprint
    prompt_digest: Digest


class QueuedFrame(Frame):
    """The job's place in the queue changed."""

    frame_type: ClassVar[str] = "queued"
    position: Count
    eta_s: Seconds


class TokenLogprob(WireModel):
    """Log-probability (natural, finite) of one token, and the best alternatives as (id, logprob)."""

    id: TokenId
    logprob: LogProb
    top: Annotated[tuple[tuple[TokenId, LogProb], ...], MaxLen(20)] = ()


class TokensFrame(Frame):
    """Token ids and the text that they completed; text lags behind ids where a character is not whole yet."""

    frame_type: ClassVar[str] = "tokens"
    ids: TokenIds
    text: str
    logprobs: Annotated[tuple[TokenLogprob, ...], MaxLen(MAX_DETAILS)] | None = None


class ProgressFrame(Frame):
    """Step ``step`` of ``total``, counted over the whole job (all its pictures); preview: a small JPEG, <= 16 KiB."""

    frame_type: ClassVar[str] = "progress"
    step: Count
    total: PositiveCount
    preview: Annotated[bytes, MaxLen(MAX_PREVIEW_BYTES)] | None = None


class Word(WireModel):
    """One word with its times in the audio."""

    start_ms: Count
    end_ms: Count
    text: str


class SegmentFrame(Frame):
    """One decoded piece of speech with its times in the audio."""

    frame_type: ClassVar[str] = "segment"
    start_ms: Count
    end_ms: Count
    text: str
    language: Annotated[str, MaxLen(8)] | None = None
    words: Annotated[tuple[Word, ...], MaxLen(MAX_DETAILS)] | None = None


class DoneFrame(Frame):
    """The end of a job, and the only end: usage, the transcript's digest and the signed receipt."""

    frame_type: ClassVar[str] = "done"
    finish_reason: Annotated[str, MaxLen(32)]
    usage: Usage
    digest: Digest
    receipt: Envelope


class ErrorFrame(Frame):
    """The job failed. ``code`` may be one that this version does not know."""

    frame_type: ClassVar[str] = "error"
    code: Annotated[str, MinLen(1), MaxLen(64)]
    message: Annotated[str, MaxLen(2_000)]
    retryable: bool = False
    retry_after_s: Seconds | None = None

    def to_error(self) -> JobError:
        """Return the exception that this frame stands for; an unknown code becomes ``internal``.

        The message ends on terminals, so that control characters become blanks.
        """
        known = self.code in ErrorCode.__members__.values()
        return JobError(
            code=ErrorCode(self.code) if known else ErrorCode.INTERNAL,
            message="".join(letter if letter.isprintable() else " " for letter in self.message),
            retryable=self.retryable,
            retry_after_s=self.retry_after_s,
        )

    @classmethod
    def of(cls, error: JobError) -> "ErrorFrame":
        """Return the frame for an exception."""
        return cls(
            code=error.code.value,
            message=error.message[:2_000],
            retryable=error.retryable,
            retry_after_s=error.retry_after_s,
        )


class DrainingFrame(Frame):
    """The node is about to stop; ``deadline_s``: seconds that this job may still run."""

    frame_type: ClassVar[str] = "draining"
    deadline_s: Seconds


class PingFrame(Frame):
    """Nothing new; the connection lives."""

    frame_type: ClassVar[str] = "ping"


class SettledFrame(Frame):
    """The node has the final voucher on its disk, and hands it in itself. The last frame; nothing else says so."""

    frame_type: ClassVar[str] = "settled"


class ProbeFrame(Frame):
    """Client to node on a probe stream: ``nonce`` comes back. ``model``: whose queue is asked about."""

    frame_type: ClassVar[str] = "probe"
    nonce: Annotated[bytes, MinLen(8), MaxLen(32)]
    model: Annotated[str, MaxLen(64)] = ""


class ProbeReplyFrame(Frame):
    """Node to client: the nonce and the live load of the model (or of the node's only one)."""

    frame_type: ClassVar[str] = "probe_reply"
    nonce: Annotated[bytes, MinLen(8), MaxLen(32)]
    active: Count
    queued: Count
    slots: Count
    wait_ms: Count
    draining: bool = False


CLIENT_FRAMES: dict[str, type[Frame]] = {
    model.frame_type: model for model in (RequestFrame, BlobFrame, VoucherFrame, CancelFrame)
}
NODE_FRAMES: dict[str, type[Frame]] = {
    model.frame_type: model
    for model in (
        AcceptedFrame,
        QueuedFrame,
        TokensFrame,
        ProgressFrame,
        SegmentFrame,
        BlobFrame,
        DoneFrame,
        ErrorFrame,
        DrainingFrame,
        PingFrame,
        SettledFrame,
    )
}
PROBE_FRAMES: dict[str, type[Frame]] = {ProbeFrame.frame_type: ProbeFrame}
PROBE_REPLY_FRAMES: dict[str, type[Frame]] = {
    ProbeReplyFrame.frame_type: ProbeReplyFrame,
    ErrorFrame.frame_type: ErrorFrame,
}


class UnknownType(UnexpectedMessage):
    """The other side sent a message of a type that this version does not know."""


def encode_frame(message: Frame) -> bytes:
    """Return header and payload of a message, to be sent with one write."""
    return frame(pack({"type": message.frame_type, **message.to_map()}))


def decode_frame(payload: bytes, allowed: dict[str, type[Frame]]) -> Frame:
    """Read a frame's payload.

    Args:
        allowed: the table of types that may come from this side.

    Raises:
        MalformedMessage: not a map, no type, or a bad field.
        UnknownType: a type outside the table.
    """
    value: Any = unpack(payload)
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise MalformedMessage("A frame is not a map with a type.")
    model = allowed.get(value["type"])
    if model is None:
        raise UnknownType(f"The frame type {value['type'][:40]!r} is not known here.")
    return model.from_map(value)

"""Wire error codes and the exception tree of the protocol.

::

    GpunodeError                what a user may read: the message says what happened and what to do
    ├── ProtocolError           bytes from a peer that break the protocol
    │   ├── MalformedMessage    not msgpack, too deep, a field of the wrong type or out of range
    │   │   └── UnsupportedVersion  a signed body of another protocol version
    │   ├── NotCanonical        a signed body that is not in the one canonical encoding
    │   ├── BadSignature        absent, wrong or foreign signature
    │   ├── FrameTooLong        a length header beyond the limit
    │   └── UnexpectedMessage   a known message at a moment when the protocol does not allow it
    ├── InvalidPeerId           text that is not an ed25519 peer id
    ├── BadTrackerAddress       not HOST[:PORT], or plain http to another machine
    ├── InvalidSettings         a setting or configuration file that cannot be used
    ├── Untrusted               a grant, certificate or tree head that does not verify
    ├── VerificationFailed      a node's answer that contradicts what was received
    │   └── FalseFrame          one frame of it that cannot be true; what came before it stands
    └── JobError                a job ended with an error code from the table below
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class GpunodeError(Exception):
    """Something went wrong in gpunode."""

    def __str__(self) -> str:
        """Return the given message, else the class's docstring (which is written for users)."""
        return super().__str__() or (type(self).__doc__ or "").strip()


class ProtocolError(GpunodeError):
    """The other side sent bytes that break the gpunode protocol. Check that both sides run compatible versions."""


class MalformedMessage(ProtocolError):
    """The other side sent a message that cannot be read. Check that both sides run compatible versions."""


class UnsupportedVersion(MalformedMessage):
    """The other side signed a message of another protocol version. Update the older side."""


class NotCanonical(ProtocolError):
    """A signed message is not in canonical form, so its signature cannot be relied on."""


class BadSignature(ProtocolError):
    """A signature is missing or does not belong to the message and the key that it names."""


class FrameTooLong(ProtocolError):
    """The other side announced a frame beyond the limit of 1 MiB."""


class UnexpectedMessage(ProtocolError):
    """The other side sent a message that is not allowed at this point of the conversation."""


class InvalidPeerId(GpunodeError):
    """This is not an ed25519 peer id; one looks like 12D3KooW… and has 52 characters."""


class BadTrackerAddress(GpunodeError):
    """The tracker's address cannot be used; one looks like tracker.example or tracker.example:8470."""


class InvalidSettings(GpunodeError):
    """A setting cannot be used. See docs/configuration.md."""


class Untrusted(GpunodeError):
    """A grant, certificate, key set or tree head does not verify against the pinned network key."""


AnswerFault = Literal["bad_receipt", "bad_digest", "bad_usage", "bad_output"]
"""What of an answer does not verify, as it is reported: its receipt; the digest or the usage that this states; or the
output itself, which is more than was asked for.
"""


class VerificationFailed(GpunodeError):
    """The node's receipt contradicts the answer that was received; nothing more was paid for it."""

    def __init__(self, *message: str, fault: AnswerFault = "bad_receipt") -> None:
        """``message``: at most one. ``fault``: what the node is reported for, where there is a node to report."""
        super().__init__(*message)
        self.fault: AnswerFault = fault


class FalseFrame(VerificationFailed):
    """The node sent a frame that cannot be true; what came before it stands."""


class ErrorCode(StrEnum):
    """Codes of the ``error`` frame. Whether a code may be retried elsewhere: see ``RETRYABLE``."""

    MALFORMED = "malformed"  #: the frame or a field in it cannot be read
    UNSUPPORTED_VERSION = "unsupported_version"  #: protocol version this node does not speak
    UNKNOWN_TYPE = "unknown_type"  #: frame type this node does not know
    UNEXPECTED_MESSAGE = "unexpected_message"  #: known frame at the wrong moment
    FRAME_TOO_LONG = "frame_too_long"  #: length header beyond 1 MiB
    NOT_CANONICAL = "not_canonical"  #: signed body not in canonical form
    BAD_SIGNATURE = "bad_signature"  #: absent, wrong or foreign signature
    WRONG_NETWORK = "wrong_network"  #: request for another network
    WRONG_NODE = "wrong_node"  #: request signed for another node
    STALE_REQUEST = "stale_request"  #: ``issued_at`` more than 60 s away from the node's clock
    DEADLINE_PASSED = "deadline_passed"  #: the request's own deadline is over
    REPLAYED = "replayed"  #: job and segment already seen with other bytes
    REPLAY_MEMORY_FULL = "replay_memory_full"  #: 64 jobs under this grant here; use a new grant
    GRANT_INVALID = "grant_invalid"  #: forged, for another network, client or node, or unreadable
    GRANT_EXPIRED = "grant_expired"
    GRANT_REVOKED = "grant_revoked"
    GRANT_EXHAUSTED = "grant_exhausted"  #: the grant's cap, or this node's exposure limit, is spent
    TASK_NOT_ALLOWED = "task_not_allowed"  #: the grant does not cover this task
    UNKNOWN_TASK = "unknown_task"
    UNKNOWN_MODEL = "unknown_model"
    FINGERPRINT_MISMATCH = "fingerprint_mismatch"  #: other weights than the request asks for
    INVALID_PARAMETERS = "invalid_parameters"
    CONTEXT_OVERFLOW = "context_overflow"  #: prompt and max_tokens exceed the model's context
    RESUME_REFUSED = "resume_refused"  #: the prompt digest or the received ids do not fit
    BUSY = "busy"  #: the queue is full
    TOO_MANY_STREAMS = "too_many_streams"  #: more than 8 streams from one peer, or 256 from one address
    DRAINING = "draining"  #: the node is about to stop
    FIRST_FRAME_TIMEOUT = "first_frame_timeout"  #: no request within 10 s of the stream's opening
    SLOW_CONSUMER = "slow_consumer"  #: 256 KiB unsent for 10 s
    VOUCHER_OVERDUE = "voucher_overdue"  #: 128 tokens not vouched for
    BAD_VOUCHER = "bad_voucher"  #: a voucher that contradicts what was sent
    BLOB_INVALID = "blob_invalid"  #: blob beyond its declared size, out of order, or with a wrong digest
    TIME_LIMIT = "time_limit"  #: wall clock of the job's task exceeded
    OUTPUT_LIMIT = "output_limit"  #: more than 100 MB of output
    ENGINE_FAILED = "engine_failed"  #: the engine crashed, hung or ran out of memory
    CANCELLED = "cancelled"
    INTERNAL = "internal"


RETRYABLE = frozenset(
    {
        ErrorCode.REPLAY_MEMORY_FULL,
        ErrorCode.UNKNOWN_MODEL,
        ErrorCode.FINGERPRINT_MISMATCH,
        ErrorCode.GRANT_EXHAUSTED,
        ErrorCode.BUSY,
        ErrorCode.TOO_MANY_STREAMS,
        ErrorCode.DRAINING,
        ErrorCode.FIRST_FRAME_TIMEOUT,
        ErrorCode.TIME_LIMIT,
        ErrorCode.ENGINE_FAILED,
        ErrorCode.INTERNAL,
    }
)
"""Codes after which the same job may be tried at another node."""


@dataclass
class JobError(GpunodeError):
    """A job ended with an error.

    Args:
        code: why, from the closed list above.
        message: what happened and what to do, for a person.
        retryable: whether another node may be tried.
        retry_after_s: seconds, >= 0, after which this node may be asked again; None when unknown.
    """

    code: ErrorCode
    message: str
    retryable: bool = False
    retry_after_s: float | None = None

    def __str__(self) -> str:
        """Return the message with its code."""
        return f"{self.message} ({self.code})"


def job_error(code: ErrorCode, message: str, *, retry_after_s: float | None = None) -> JobError:
    """Return a ``JobError`` whose ``retryable`` follows from the code."""
    return JobError(code=code, message=message, retryable=code in RETRYABLE, retry_after_s=retry_after_s)

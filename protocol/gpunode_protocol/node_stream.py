"""The node's side of one stream, sans-IO: parsing what a client sends and checking its request."""

from dataclasses import dataclass
from typing import cast

from gpunode_protocol.errors import (
    BadSignature,
    ErrorCode,
    FrameTooLong,
    JobError,
    NotCanonical,
    ProtocolError,
    UnexpectedMessage,
    UnsupportedVersion,
    job_error,
)
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.identity import PeerId, public_key_of
from gpunode_protocol.messages import (
    CLIENT_FRAMES,
    BlobFrame,
    CancelFrame,
    RequestFrame,
    UnknownType,
    VoucherFrame,
    decode_frame,
)
from gpunode_protocol.requests import ISSUED_AT_TOLERANCE_S, JobRequest, task_of
from gpunode_protocol.signing import Envelope, Signed, open_self_named

FIRST_FRAME_TIMEOUT_S = 10.0
MAX_UNSENT_BYTES = 262_144
SLOW_CONSUMER_TIMEOUT_S = 10.0
MAX_STREAMS_PER_PEER = 8

NodeEvent = RequestFrame | BlobFrame | VoucherFrame | CancelFrame


def job_error_of(error: ProtocolError) -> JobError:
    """Return the wire error for bytes that break the protocol."""
    match error:
        case UnsupportedVersion():
            code = ErrorCode.UNSUPPORTED_VERSION
        case FrameTooLong():
            code = ErrorCode.FRAME_TOO_LONG
        case NotCanonical():
            code = ErrorCode.NOT_CANONICAL
        case BadSignature():
            code = ErrorCode.BAD_SIGNATURE
        case UnknownType():
            code = ErrorCode.UNKNOWN_TYPE
        case UnexpectedMessage():
            code = ErrorCode.UNEXPECTED_MESSAGE
        case _:
            code = ErrorCode.MALFORMED
    return job_error(code, str(error))


class NodeStream:
    """Parses a client's frames: one request first, then blobs, vouchers and at most one cancel."""

    def __init__(self) -> None:
        """Wait for the request."""
        self._parser = FrameParser()
        self._has_request = False
        self._cancelled = False

    def receive_data(self, data: bytes) -> list[NodeEvent]:
        """Return the frames that are complete now.

        Raises:
            JobError: bytes that break the protocol; send it as ``error`` and close.
        """
        try:
            return [self._event(payload) for payload in self._parser.feed(data)]
        except ProtocolError as error:
            raise job_error_of(error) from error

    def _event(self, payload: bytes) -> NodeEvent:
        message = decode_frame(payload, CLIENT_FRAMES)
        if isinstance(message, RequestFrame) == self._has_request:
            raise UnexpectedMessage(
                "A second request came on one stream." if self._has_request else "The first frame must be a request."
            )
        self._has_request = True
        if isinstance(message, CancelFrame):
            if self._cancelled:
                raise UnexpectedMessage("A second cancel came.")
            self._cancelled = True
        return cast("NodeEvent", message)  # the table has no other types


@dataclass(frozen=True)
class RequestChecks:
    """Who and when: network id, this node, the peer at the stream's other end, Unix seconds."""

    network: str
    node: PeerId
    peer: PeerId
    now: float


def open_request(envelope: Envelope, checks: RequestChecks) -> Signed[JobRequest]:
    """Check a request's form, signature, addressee and times (not yet its grant).

    Raises:
        JobError: with the code that says which check failed.
    """
    try:
        request = open_self_named(JobRequest, envelope, lambda body: _key_of_sender(body, checks.peer))
    except ProtocolError as error:
        raise job_error_of(error) from error
    body = request.body
    if body.network != checks.network:
        raise job_error(ErrorCode.WRONG_NETWORK, "The request is for another network.")
    if body.node != checks.node:
        raise job_error(ErrorCode.WRONG_NODE, "The request is signed for another node.")
    offset_s = body.issued_at - checks.now
    if abs(offset_s) > ISSUED_AT_TOLERANCE_S:
        raise job_error(
            ErrorCode.STALE_REQUEST,
            f"The request's clock is {offset_s:+.0f} s from this node's; {ISSUED_AT_TOLERANCE_S} s are allowed. "
            "Set the clock (NTP) and sign a new request.",
        )
    if body.deadline_at < checks.now:
        raise job_error(ErrorCode.DEADLINE_PASSED, "The request's deadline has passed.")
    task_of(body.task)
    return request


def _key_of_sender(body: JobRequest, peer: PeerId) -> bytes:
    if body.client != peer:
        raise BadSignature("The request names another client than the peer that sent it.")
    return public_key_of(peer)

"""The node's side of one stream."""

from typing import Any

import pytest
from gpunode_protocol import canonical
from gpunode_protocol.blobs import Blob, blob_frames
from gpunode_protocol.errors import (
    BadSignature,
    ErrorCode,
    FrameTooLong,
    JobError,
    MalformedMessage,
    NotCanonical,
    ProtocolError,
    UnexpectedMessage,
    UnsupportedVersion,
)
from gpunode_protocol.framing import frame
from gpunode_protocol.messages import (
    CancelFrame,
    Frame,
    PingFrame,
    RequestFrame,
    UnknownType,
    VoucherFrame,
    encode_frame,
)
from gpunode_protocol.node_stream import NodeStream, RequestChecks, job_error_of, open_request
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.safe_msgpack import pack
from gpunode_protocol.signing import Envelope, sign, signing_input
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import (
    CLIENT,
    NETWORK,
    NODE,
    NOW,
    OTHER_NETWORK,
    SALT,
    STRANGER,
    request_body,
    signed_request,
)

REQUEST = RequestFrame(request=signed_request().envelope)
VOUCHER = VoucherFrame(voucher=Envelope(body=b"", signature=b""))
(BLOB,) = blob_frames(Blob(id=0, media_type="audio/wav", data=b"x"), SALT)
CHECKS: dict[str, Any] = {"network": NETWORK, "node": NODE.peer_id, "peer": CLIENT.peer_id, "now": NOW}


def _refused(*messages: Frame | bytes) -> ErrorCode:
    """Return the code with which a stream is refused."""
    data = b"".join(item if isinstance(item, bytes) else encode_frame(item) for item in messages)
    with pytest.raises(JobError) as caught:
        NodeStream().receive_data(data)
    return caught.value.code


def _code(envelope: Envelope, **checks: Any) -> ErrorCode:
    """Return the code with which a request is refused."""
    with pytest.raises(JobError) as caught:
        open_request(envelope, RequestChecks(**{**CHECKS, **checks}))
    return caught.value.code


def test_a_whole_conversation() -> None:
    """One request, then blobs and vouchers in any number, at most one cancel."""
    messages = [REQUEST, BLOB, VOUCHER, BLOB, CancelFrame(), VOUCHER]
    assert NodeStream().receive_data(b"".join(encode_frame(message) for message in messages)) == messages


@pytest.mark.parametrize("first", [BLOB, VOUCHER, CancelFrame()])
def test_request_comes_first(first: Frame) -> None:
    """Nothing comes before the request."""
    assert _refused(first) is ErrorCode.UNEXPECTED_MESSAGE


def test_only_one_request_and_one_cancel() -> None:
    """A second request needs a second stream."""
    assert _refused(REQUEST, REQUEST) is ErrorCode.UNEXPECTED_MESSAGE
    assert _refused(REQUEST, CancelFrame(), CancelFrame()) is ErrorCode.UNEXPECTED_MESSAGE


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xff\xff\xff", ErrorCode.FRAME_TOO_LONG),
        (frame(b""), ErrorCode.MALFORMED),
        (frame(b"\xc1"), ErrorCode.MALFORMED),
        (frame(b"\x91" * 1_000), ErrorCode.MALFORMED),
        (frame(pack({"type": "request"})), ErrorCode.MALFORMED),
        (frame(pack({"type": "request", "request": {"body": b""}})), ErrorCode.MALFORMED),
        (frame(pack({"type": "hello"})), ErrorCode.UNKNOWN_TYPE),
        (encode_frame(PingFrame()), ErrorCode.UNKNOWN_TYPE),
    ],
)
def test_broken_bytes(data: bytes, code: ErrorCode) -> None:
    """Each way of breaking the protocol has its code."""
    assert _refused(data) is code


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_random_bytes(chunks: list[bytes]) -> None:
    """Random bytes raise JobError and nothing else."""
    stream = NodeStream()
    try:
        for chunk in chunks:
            assert stream.receive_data(chunk) == []
    except JobError:
        pass


@given(st.data())
def test_mutated_streams(data: st.DataObject) -> None:
    """A stream with changed bytes gives frames or a JobError, at its request too."""
    raw = bytearray(b"".join(encode_frame(message) for message in (REQUEST, BLOB, VOUCHER, CancelFrame())))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    stream = NodeStream()
    try:
        events = stream.receive_data(bytes(raw[:cut])) + stream.receive_data(bytes(raw[cut:]))
        for event in events:
            if isinstance(event, RequestFrame):
                assert open_request(event.request, RequestChecks(**CHECKS)) == signed_request()
    except JobError:
        return


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FrameTooLong(), ErrorCode.FRAME_TOO_LONG),
        (NotCanonical(), ErrorCode.NOT_CANONICAL),
        (BadSignature(), ErrorCode.BAD_SIGNATURE),
        (UnknownType(), ErrorCode.UNKNOWN_TYPE),
        (UnexpectedMessage(), ErrorCode.UNEXPECTED_MESSAGE),
        (UnsupportedVersion(), ErrorCode.UNSUPPORTED_VERSION),
        (MalformedMessage(), ErrorCode.MALFORMED),
        (ProtocolError(), ErrorCode.MALFORMED),
    ],
)
def test_codes(error: ProtocolError, code: ErrorCode) -> None:
    """Each exception of the protocol has its code and says what it says."""
    assert (job_error_of(error).code, job_error_of(error).message) == (code, str(error))


def test_good_request() -> None:
    """A request in form, signed, to this node, in time."""
    assert open_request(signed_request().envelope, RequestChecks(**CHECKS)) == signed_request()


def test_signature_of_a_stranger() -> None:
    """Only the peer at the stream's other end signs its requests."""
    assert _code(sign(STRANGER, request_body()).envelope) is ErrorCode.BAD_SIGNATURE
    assert _code(signed_request().envelope, peer=STRANGER.peer_id) is ErrorCode.BAD_SIGNATURE
    assert _code(Envelope(body=signed_request().envelope.body, signature=b"")) is ErrorCode.BAD_SIGNATURE


def test_request_in_another_form() -> None:
    """A request in another encoding, of another version or without a field has its code, though it is signed."""
    body = signed_request().envelope.body
    longer = body.replace(b"\xa7segment\x00", b"\xa7segment\xcc\x00", 1)
    assert longer != body
    fields = request_body().to_map()
    for data, code in (
        (longer, ErrorCode.NOT_CANONICAL),
        (canonical.encode({**fields, "v": 2}), ErrorCode.UNSUPPORTED_VERSION),
        (canonical.encode({**fields, "segment": "0"}), ErrorCode.MALFORMED),
    ):
        signature = CLIENT.sign_bytes(signing_input("request", data))
        assert _code(Envelope(body=data, signature=signature)) is code


def test_later_version_with_its_own_signature() -> None:
    """A request of version 2, signed as such, is told which version is spoken here."""
    data = canonical.encode({**request_body().to_map(), "v": 2})
    signature = CLIENT.sign_bytes(b"gpunode/2/request\0" + data)
    assert _code(Envelope(body=data, signature=signature)) is ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"network": OTHER_NETWORK}, ErrorCode.WRONG_NETWORK),
        ({"node": STRANGER.peer_id}, ErrorCode.WRONG_NODE),
        ({"issued_at": NOW - 61}, ErrorCode.STALE_REQUEST),
        ({"issued_at": NOW + 61}, ErrorCode.STALE_REQUEST),
        ({"deadline_at": NOW - 1}, ErrorCode.DEADLINE_PASSED),
        ({"task": "chess"}, ErrorCode.UNKNOWN_TASK),
    ],
)
def test_request_for_something_else(change: dict[str, Any], code: ErrorCode) -> None:
    """Another network, another node, another time or task has its code."""
    assert _code(sign(CLIENT, request_body(**change)).envelope) is code


def test_clocks_may_differ_by_a_minute() -> None:
    """``issued_at`` may be 60 s away, either way, and not a moment more."""
    for issued_at in (NOW - 60, NOW + 60):
        assert open_request(signed_request(issued_at=issued_at).envelope, RequestChecks(**CHECKS))
    assert _code(signed_request(issued_at=NOW - 60).envelope, now=NOW + 0.01) is ErrorCode.STALE_REQUEST


def test_deadline_is_its_last_moment() -> None:
    """A request is accepted up to its deadline."""
    envelope = signed_request(deadline_at=NOW).envelope
    assert open_request(envelope, RequestChecks(**CHECKS)).body == JobRequest.from_map(canonical.decode(envelope.body))

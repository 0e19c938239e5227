"""The frames of job and probe streams."""

import math
from typing import Any

import pytest
from gpunode_protocol import messages
from gpunode_protocol.errors import ErrorCode, JobError, MalformedMessage, ProtocolError
from gpunode_protocol.framing import HEADER_BYTES, FrameParser
from gpunode_protocol.messages import (
    CLIENT_FRAMES,
    NODE_FRAMES,
    PROBE_FRAMES,
    PROBE_REPLY_FRAMES,
    AcceptedFrame,
    BlobFrame,
    CancelFrame,
    DoneFrame,
    DrainingFrame,
    ErrorFrame,
    Frame,
    PingFrame,
    ProbeFrame,
    ProbeReplyFrame,
    ProgressFrame,
    QueuedFrame,
    RequestFrame,
    SegmentFrame,
    SettledFrame,
    TokenLogprob,
    TokensFrame,
    UnknownType,
    VoucherFrame,
    Word,
    decode_frame,
    encode_frame,
)
from gpunode_protocol.payloads import Usage
from gpunode_protocol.safe_msgpack import pack
from gpunode_protocol.signing import Envelope
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

DIGEST = b"\x01" * 32
ENVELOPE = Envelope(body=b"body", signature=b"\x02" * 64)
ALL_FRAMES = {**CLIENT_FRAMES, **NODE_FRAMES, **PROBE_FRAMES, **PROBE_REPLY_FRAMES}

EXAMPLES: list[Frame] = [
    RequestFrame(request=ENVELOPE),
    VoucherFrame(voucher=ENVELOPE),
    CancelFrame(),
    CancelFrame(reason="enough"),
    BlobFrame(id=255, media_type="image/png", total_bytes=104_857_600, offset=0, digest=DIGEST, data=b"x", units=3),
    AcceptedFrame(prompt_tokens=17, position=2, eta_s=1.5, fingerprint=DIGEST, prompt_digest=DIGEST),
    QueuedFrame(position=0, eta_s=0),
    TokensFrame(ids=(0, 2**32 - 1), text="é"),
    TokensFrame(ids=(), text="", logprobs=()),
    TokensFrame(ids=(5,), text="x", logprobs=(TokenLogprob(id=5, logprob=-0.25, top=((5, -0.25), (6, -1.5))),)),
    ProgressFrame(step=3, total=20),
    ProgressFrame(step=3, total=20, preview=b"jpeg"),
    SegmentFrame(start_ms=0, end_ms=1_500, text="hello"),
    SegmentFrame(start_ms=0, end_ms=9, text="a", language="en", words=(Word(start_ms=0, end_ms=9, text="a"),)),
    DoneFrame(finish_reason="stop", usage=Usage(output_tokens=3), digest=DIGEST, receipt=ENVELOPE),
    ErrorFrame(code="busy", message="The queue is full.", retryable=True, retry_after_s=2.5),
    DrainingFrame(deadline_s=30.0),
    PingFrame(),
    ProbeFrame(nonce=b"12345678"),
    ProbeReplyFrame(nonce=b"12345678", active=1, queued=2, slots=8, wait_ms=900, draining=True),
    SettledFrame(),
]


def test_every_frame_has_an_example() -> None:
    """No frame type is missing in these tests."""
    assert {type(example) for example in EXAMPLES} == set(ALL_FRAMES.values())


def test_tables_hold_every_frame() -> None:
    """Each frame class is in a table under its type."""
    classes = {
        value
        for value in vars(messages).values()
        if isinstance(value, type) and issubclass(value, Frame) and value is not Frame
    }
    assert classes == set(ALL_FRAMES.values())
    assert all(name == model.frame_type for name, model in ALL_FRAMES.items())


def test_directions() -> None:
    """Who may say what."""
    assert list(CLIENT_FRAMES) == ["request", "blob", "voucher", "cancel"]
    assert list(NODE_FRAMES) == [
        "accepted",
        "queued",
        "tokens",
        "progress",
        "segment",
        "blob",
        "done",
        "error",
        "draining",
        "ping",
        "settled",
    ]
    assert (list(PROBE_FRAMES), list(PROBE_REPLY_FRAMES)) == (["probe"], ["probe_reply", "error"])


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.frame_type)
def test_round_trip(message: Frame) -> None:
    """Every frame is read as it was written, behind one header."""
    (payload,) = FrameParser().feed(encode_frame(message))
    assert decode_frame(payload, ALL_FRAMES) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.frame_type)
def test_unknown_key_is_ignored(message: Frame) -> None:
    """A later version may add keys to every frame."""
    payload = pack({"type": message.frame_type, **message.to_map(), "zeta": {"a": 1}})
    assert decode_frame(payload, ALL_FRAMES) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message.frame_type)
def test_missing_keys_are_named(message: Frame) -> None:
    """A frame without a mandatory key is malformed, and the message names it."""
    fields = message.to_map()
    for key in fields:
        if type(message).model_fields[key].is_required():
            payload = pack({"type": message.frame_type, **{k: v for k, v in fields.items() if k != key}})
            with pytest.raises(MalformedMessage, match=key):
                decode_frame(payload, ALL_FRAMES)


@pytest.mark.parametrize("table", [CLIENT_FRAMES, NODE_FRAMES, PROBE_FRAMES, PROBE_REPLY_FRAMES])
def test_unknown_type(table: dict[str, type[Frame]]) -> None:
    """A type outside the direction's table is unknown, also one that the other side may send."""
    for name in ["", "hello", "Ping", *(ALL_FRAMES.keys() - table.keys())]:
        with pytest.raises(UnknownType):
            decode_frame(pack({"type": name}), table)


def test_message_about_an_unknown_type_is_short() -> None:
    """A type of a megabyte is not repeated."""
    with pytest.raises(UnknownType) as caught:
        decode_frame(pack({"type": "x" * 500_000}), NODE_FRAMES)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("value", [{}, {"type": 1}, {"type": None}, {"type": b"ping"}, [], "ping", None, 1])
def test_no_map_or_no_type(value: object) -> None:
    """A payload that is no map with a type is malformed."""
    with pytest.raises(MalformedMessage):
        decode_frame(pack(value), NODE_FRAMES)


@given(st.binary(max_size=100))
def test_random_payloads(payload: bytes) -> None:
    """Random payloads raise protocol errors and nothing else."""
    with pytest.raises(ProtocolError):
        decode_frame(payload, ALL_FRAMES)


@given(st.sampled_from(EXAMPLES), st.data())
def test_mutated_frames(message: Frame, data: st.DataObject) -> None:
    """A frame with changed bytes is a frame or a protocol error."""
    payload = bytearray(encode_frame(message)[HEADER_BYTES:])
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = decode_frame(bytes(payload), ALL_FRAMES)
    except ProtocolError:
        return
    assert encode_frame(again)


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (EXAMPLES[4], {"id": 256}),
        (EXAMPLES[4], {"data": b""}),
        (EXAMPLES[4], {"data": bytes(262_145)}),
        (EXAMPLES[4], {"total_bytes": 0}),
        (EXAMPLES[4], {"total_bytes": 104_857_601}),
        (EXAMPLES[4], {"digest": b""}),
        (EXAMPLES[4], {"units": -1}),
        (EXAMPLES[5], {"prompt_tokens": -1}),
        (EXAMPLES[5], {"eta_s": -0.1}),
        (EXAMPLES[5], {"eta_s": "1"}),
        (EXAMPLES[7], {"ids": (2**32,)}),
        (EXAMPLES[7], {"ids": (-1,)}),
        (EXAMPLES[7], {"ids": (1.5,)}),
        (EXAMPLES[7], {"text": None}),
        (EXAMPLES[7], {"text": b"bytes"}),
        (EXAMPLES[9], {"logprobs": ({"id": 5, "logprob": 0.0, "top": ((5, 0.0),) * 21},)}),
        (EXAMPLES[9], {"logprobs": ({"id": 5, "logprob": 0.0},) * 4_097}),
        (EXAMPLES[10], {"total": 0}),
        (EXAMPLES[11], {"preview": bytes(16_385)}),
        (EXAMPLES[13], {"words": ({"start_ms": 0, "end_ms": 0, "text": ""},) * 4_097}),
        (EXAMPLES[15], {"code": ""}),
        (EXAMPLES[15], {"message": "x" * 2_001}),
        (EXAMPLES[15], {"retryable": 1}),
        (EXAMPLES[18], {"nonce": b"1234567"}),
        (EXAMPLES[18], {"nonce": bytes(33)}),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_limits(message: Frame, change: dict[str, Any]) -> None:
    """Fields of a wrong type or out of range are malformed."""
    with pytest.raises(MalformedMessage):
        decode_frame(pack({"type": message.frame_type, **message.to_map(), **change}), ALL_FRAMES)


def test_whole_numbers_are_seconds_too() -> None:
    """A sender may write 3 for 3.0."""
    message = decode_frame(pack({"type": "queued", "position": 1, "eta_s": 3}), NODE_FRAMES)
    assert message == QueuedFrame(position=1, eta_s=3.0)


def test_numbers_are_finite() -> None:
    """A log-probability of minus infinity is refused where the frame is made: no reader would take it."""
    for number in (-math.inf, math.inf, math.nan):
        with pytest.raises(ValidationError):
            TokenLogprob(id=1, logprob=number)
        with pytest.raises(ValidationError):
            TokenLogprob(id=1, logprob=-1.0, top=((2, number),))
        with pytest.raises(ValidationError):
            QueuedFrame(position=0, eta_s=number)


def test_many_wrong_ids_cost_little() -> None:
    """The first wrong id ends the reading."""
    with pytest.raises(MalformedMessage) as caught:
        decode_frame(pack({"type": "tokens", "text": "", "ids": [""] * 200_000}), NODE_FRAMES)
    cause = caught.value.__cause__
    assert isinstance(cause, ValidationError)
    assert cause.error_count() == 1


def test_error_round_trip() -> None:
    """An error arrives as what it was."""
    error = JobError(ErrorCode.BUSY, "The queue is full.", retryable=True, retry_after_s=2.0)
    assert ErrorFrame.of(error).to_error() == error


def test_error_of_a_later_version() -> None:
    """An unknown code is internal, and keeps what the node says about trying again."""
    error = ErrorFrame(code="meteor_strike", message="Oh.", retryable=True).to_error()
    assert (error.code, error.retryable) == (ErrorCode.INTERNAL, True)


def test_long_error_is_cut() -> None:
    """A long message still fits its frame."""
    assert len(ErrorFrame.of(JobError(ErrorCode.INTERNAL, "x" * 9_999)).message) == 2_000


def test_error_text_controls_no_terminal() -> None:
    """Control characters in a node's message do not reach whoever prints it."""
    error = ErrorFrame(code="internal", message="a\x1b[2Jb\x07c\n\u202ed").to_error()
    assert error.message == "a [2Jb c  d"

"""Probes."""

import contextlib

import pytest
from gpunode_protocol.errors import ErrorCode, FrameTooLong, JobError, MalformedMessage, ProtocolError
from gpunode_protocol.framing import frame
from gpunode_protocol.messages import ErrorFrame, PingFrame, ProbeFrame, ProbeReplyFrame, encode_frame
from gpunode_protocol.probe import MAX_PROBES_PER_STREAM, ProbeClient, ProbeServer
from hypothesis import given
from hypothesis import strategies as st

NONCE = b"0123456789abcdef"
REPLY = ProbeReplyFrame(nonce=NONCE, active=3, queued=1, slots=8, wait_ms=250)


def test_round_trip() -> None:
    """The node sees nonce and model, the client the live load, whatever the pieces."""
    client, server = ProbeClient(NONCE, "m"), ProbeServer()
    data = client.data_to_send()
    assert server.receive_data(data[:5]) == []
    assert server.receive_data(data[5:]) == [ProbeFrame(nonce=NONCE, model="m")]
    answer = encode_frame(REPLY)
    assert client.receive_data(answer[:-1]) is None
    assert client.receive_data(answer[-1:]) == REPLY


def test_answer_to_another_probe() -> None:
    """A reply with another nonce is refused: it may be old."""
    with pytest.raises(MalformedMessage, match="another probe"):
        ProbeClient(NONCE).receive_data(encode_frame(REPLY.model_copy(update={"nonce": b"12345678"})))


def test_node_that_refuses() -> None:
    """An error frame is raised as what it says."""
    data = encode_frame(ErrorFrame(code="too_many_streams", message="Wait.", retryable=True))
    with pytest.raises(JobError) as caught:
        ProbeClient(NONCE).receive_data(data)
    assert caught.value.code is ErrorCode.TOO_MANY_STREAMS


def test_several_probes_on_one_stream() -> None:
    """A stream may be kept for 64 probes, in any pieces."""
    server, data = ProbeServer(), ProbeClient(NONCE).data_to_send()
    for _ in range(MAX_PROBES_PER_STREAM // 2):
        assert len(server.receive_data(2 * data)) == 2
    with pytest.raises(MalformedMessage):
        server.receive_data(data)


def test_large_frames_are_refused() -> None:
    """A probe needs no more than 4 KiB."""
    with pytest.raises(FrameTooLong):
        ProbeServer().receive_data(frame(bytes(4_097)))
    with pytest.raises(FrameTooLong):
        ProbeClient(NONCE).receive_data(frame(bytes(4_097)))


def test_other_frames_are_refused() -> None:
    """On a probe stream only probes and their replies travel."""
    for data in (encode_frame(PingFrame()), encode_frame(REPLY)):
        with pytest.raises(ProtocolError):
            ProbeServer().receive_data(data)
    with pytest.raises(ProtocolError):
        ProbeClient(NONCE).receive_data(ProbeClient(NONCE).data_to_send())


@given(st.binary(max_size=80))
def test_random_bytes(data: bytes) -> None:
    """Random bytes raise protocol errors and nothing else, on either side."""
    for receive in (ProbeServer().receive_data, ProbeClient(NONCE).receive_data):
        with contextlib.suppress(ProtocolError):
            assert not receive(data)

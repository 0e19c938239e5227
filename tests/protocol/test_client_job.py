"""The client's side of a job stream."""

from typing import Any

import pytest
from gpunode_protocol.blobs import Blob, blob_frames
from gpunode_protocol.client_job import Completed, Failed, JobEvent
from gpunode_protocol.errors import (
    ErrorCode,
    FalseFrame,
    JobError,
    UnexpectedMessage,
    VerificationFailed,
)
from gpunode_protocol.framing import frame
from gpunode_protocol.messages import (
    AcceptedFrame,
    BlobFrame,
    CancelFrame,
    DoneFrame,
    DrainingFrame,
    Frame,
    PingFrame,
    ProgressFrame,
    QueuedFrame,
    RequestFrame,
    SegmentFrame,
    SettledFrame,
    TokensFrame,
    encode_frame,
)
from gpunode_protocol.payloads import Usage, input_tokens_bound
from gpunode_protocol.requests import Resume
from gpunode_protocol.safe_msgpack import pack
from gpunode_protocol.signing import Envelope
from gpunode_protocol.tasks import Task

from tests.protocol.conversation import PROMPT_DIGEST, PROMPT_TOKENS, Conversation, accepted_frame, new_client
from tests.protocol.samples import (
    AUDIO,
    FINGERPRINT,
    NOW,
    SALT,
    chat_params,
    embedding_params,
    image_params,
    signed_request,
    speech_params,
)


def _failure(events: list[JobEvent]) -> Exception:
    """Return the error of the last event, which must be a failure."""
    assert isinstance(events[-1], Failed)
    return events[-1].error


def _send(talk: Conversation, *messages: Frame) -> list[JobEvent]:
    """Let the node say something that its machine would not."""
    return talk.client.receive_data(b"".join(encode_frame(message) for message in messages), talk.now)


def test_happy_path() -> None:
    """A chat ends with a verified receipt and a final voucher at the node."""
    talk = Conversation.about()
    talk.say(100, each_s=0.01)
    (completed,) = talk.finish()
    assert isinstance(completed, Completed)
    assert completed.usage == talk.usage()
    assert talk.client.is_over
    assert talk.node.is_settled


def test_the_node_says_that_it_has_the_final_voucher() -> None:
    """With its own frame and no other; what cannot be read says nothing."""
    settled = encode_frame(SettledFrame())
    for told, pieces in (
        (True, [encode_frame(PingFrame()) + settled]),
        (True, [settled[:3], settled[3:]]),
        (False, [encode_frame(PingFrame())]),
        (False, [b"\xff" * 9]),
    ):
        talk = Conversation.about()
        talk.finish()
        assert [talk.client.receive_settled(piece) for piece in pieces][-1] is told


def test_settled_before_the_end_says_nothing() -> None:
    """Like a ping."""
    talk = Conversation.about()
    talk.say(1)
    assert _send(talk, SettledFrame()) == []
    assert isinstance(talk.finish()[-1], Completed)


def test_tokens_beyond_the_request_are_not_vouched_for() -> None:
    """A node that sends more tokens than were asked for fails, and the client signs for none of the surplus."""
    talk = Conversation.about(chat_params(max_tokens=100))
    error = _failure(
        _send(talk, TokensFrame(ids=tuple(range(90)), text=""), TokensFrame(ids=tuple(range(90)), text=""))
    )
    assert isinstance(error, VerificationFailed)
    voucher = talk.client.closing_voucher()
    assert voucher is not None
    assert voucher.body.count == 90


def test_a_blob_cannot_claim_units() -> None:
    """A byte that claims to be a million image units buys no voucher for them."""
    talk = Conversation.about(image_params(), Task.IMAGE_GEN)
    (piece,) = blob_frames(Blob(id=0, media_type="image/png", data=b"x", units=10**15), SALT)
    assert isinstance(_failure(_send(talk, piece)), VerificationFailed)
    assert talk.client.closing_voucher() is None


def test_a_segment_cannot_claim_more_audio_than_there_is() -> None:
    """A segment that ends in a thousand years counts up to the request's limit only."""
    talk = Conversation.about(speech_params(max_audio_ms=60_000), Task.WHISPER)
    _send(talk, SegmentFrame(start_ms=0, end_ms=2**62, text="hm"))
    voucher = talk.client.closing_voucher()
    assert voucher is not None
    assert voucher.body.count == 60_000


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task.IMAGE_GEN, TokensFrame(ids=(1,), text="x")),
        (Task.WHISPER, TokensFrame(ids=(1,), text="x")),
        (Task.EMBEDDING, TokensFrame(ids=(1,), text="x")),
        (Task.LLM, SegmentFrame(start_ms=0, end_ms=1, text="x")),
        (Task.LLM, next(blob_frames(Blob(id=0, media_type="image/png", data=b"x"), SALT))),
    ],
)
def test_output_of_another_task_is_refused(task: Task, message: Frame) -> None:
    """Tokens are no image units and no milliseconds: output of another task fails the job."""
    params = {
        Task.LLM: chat_params(),
        Task.IMAGE_GEN: image_params(),
        Task.WHISPER: speech_params(),
        Task.EMBEDDING: embedding_params(),
    }[task]
    talk = Conversation.about(params, task)
    assert isinstance(_failure(_send(talk, message)), UnexpectedMessage)
    assert talk.client.closing_voucher() is None


def test_inputs_follow_accepted() -> None:
    """Inputs travel after ``accepted``, one piece of at most 256 KiB at a time."""
    talk = Conversation(signed_request(speech_params(), Task.WHISPER), inputs=AUDIO)
    assert talk.client.data_to_send(0.0) == []
    talk.node.accept(accepted_frame(prompt_tokens=0), input_count=0)
    talk.client.receive_data(talk.node.frames[0], 0.0)
    sizes = []
    while pieces := talk.client.data_to_send(0.0):
        sizes += [len(event.data) for event in talk.stream.receive_data(*pieces) if isinstance(event, BlobFrame)]
    assert sizes == [262_144, 262_144, 75_712]


def test_no_inputs_after_a_cancel() -> None:
    """A job that was cancelled before it was accepted uploads nothing any more."""
    talk = Conversation(signed_request(speech_params(), Task.WHISPER), inputs=AUDIO)
    talk.client.cancel("changed my mind")
    talk.accept(prompt_tokens=0)
    assert [type(event) for event in talk.node_events] == [RequestFrame, CancelFrame]


def test_cancel_stops_the_upload() -> None:
    """A cancel overtakes what is left of the inputs; a second cancel says nothing."""
    talk = Conversation(signed_request(speech_params(), Task.WHISPER), inputs=AUDIO)
    talk.node.accept(accepted_frame(prompt_tokens=0), input_count=0)
    talk.client.receive_data(talk.node.frames[0], 0.0)
    talk.stream.receive_data(*talk.client.data_to_send(0.0))
    talk.client.cancel()
    talk.client.cancel()
    assert [type(event) for event in talk.client_sends()] == [CancelFrame]


def test_cancel_is_answered_and_paid() -> None:
    """After a cancel the node ends with done, and what was received is vouched for."""
    talk = Conversation.about()
    talk.say(10)
    talk.client.cancel("enough")
    talk.client_sends()
    assert talk.has_cancel()
    talk.node.tokens([99], "on its way", now=0.0)
    (tokens, completed) = talk.finish(finish_reason="cancelled", output_tokens=11)
    assert isinstance(tokens, TokensFrame)
    assert isinstance(completed, Completed)
    assert completed.finish_reason == "cancelled"
    assert talk.node.is_settled


def test_cancel_after_the_end_says_nothing() -> None:
    """A job that is over cannot be cancelled."""
    talk = Conversation.about()
    talk.finish()
    talk.client.cancel()
    assert talk.client.data_to_send(0.0) == []
    assert not talk.client.cancelled


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fingerprint": b"\0" * 32}, ErrorCode.FINGERPRINT_MISMATCH),
        ({"prompt_digest": b"\0" * 32}, ErrorCode.RESUME_REFUSED),
    ],
)
def test_quotes_that_do_not_fit(changes: dict[str, Any], code: ErrorCode) -> None:
    """Other weights or another rendered prompt: the client leaves."""
    resume = Resume(ids=(1,), text_offset=1, prompt_digest=PROMPT_DIGEST)
    request = signed_request(segment=1, start=1, fingerprint=FINGERPRINT, resume=resume)
    assert isinstance(Conversation(request).accept()[-1], AcceptedFrame)
    error = _failure(Conversation(request).accept(**changes))
    assert isinstance(error, JobError)
    assert error.code is code


def test_a_prompt_that_was_counted_before() -> None:
    """By a node with the same weights: another one may count less, which costs less, but not more."""
    for counted, code in ((PROMPT_TOKENS, None), (PROMPT_TOKENS - 1, ErrorCode.RESUME_REFUSED)):
        client = new_client(signed_request(chat_params()), prompt_tokens=counted)
        (event,) = client.receive_data(encode_frame(accepted_frame()), 1.0)
        if code is None:
            assert isinstance(event, AcceptedFrame)
        else:
            assert isinstance(event, Failed)
            assert isinstance(event.error, JobError)
            assert event.error.code is code


def test_quote_at_its_bound() -> None:
    """The bound itself is accepted; more than it is the node's lie, and nothing that it said of the request."""
    bound = input_tokens_bound(chat_params())
    assert isinstance(Conversation(signed_request()).accept(prompt_tokens=bound)[-1], AcceptedFrame)
    talk = Conversation(signed_request())
    error = _failure(talk.accept(prompt_tokens=bound + 1))
    assert isinstance(error, FalseFrame)
    assert (error.fault, talk.client.error_told) == ("bad_usage", None)


def test_a_blob_with_another_digest_is_the_nodes_lie() -> None:
    """It says itself what the bytes are."""
    talk = Conversation(signed_request(embedding_params(), Task.EMBEDDING))
    (piece,) = blob_frames(Blob(id=0, media_type="application/octet-stream", data=b"x"), SALT)
    talk.accept()
    error = _failure(_send(talk, piece.model_copy(update={"data": b"y"})))
    assert isinstance(error, FalseFrame)
    assert error.fault == "bad_digest"


def test_a_blob_with_a_gap_breaks_the_protocol() -> None:
    """Whatever is wrong with a node's blobs, nothing of it is said of the request."""
    talk = Conversation(signed_request(embedding_params(), Task.EMBEDDING))
    (piece,) = blob_frames(Blob(id=0, media_type="application/octet-stream", data=b"x"), SALT)
    talk.accept()
    error = _failure(_send(talk, piece.model_copy(update={"offset": 1})))
    assert isinstance(error, UnexpectedMessage)
    assert "out of order" in str(error)


def test_order_of_frames() -> None:
    """Nothing but pings, draining and errors comes before accepted, which comes once."""
    for message in (
        TokensFrame(ids=(1,), text="x"),
        QueuedFrame(position=1, eta_s=1),
        DoneFrame(finish_reason="stop", usage=Usage(), digest=b"\0" * 32, receipt=Envelope(body=b"", signature=b"")),
    ):
        assert isinstance(_failure(_send(Conversation(signed_request()), message)), UnexpectedMessage)
    talk = Conversation(signed_request())
    assert _send(talk, PingFrame(), DrainingFrame(deadline_s=3)) == [DrainingFrame(deadline_s=3)]
    assert isinstance(_failure(_send(talk, accepted_frame(), accepted_frame())), UnexpectedMessage)


def test_what_the_caller_hears() -> None:
    """Everything but pings is reported, in order."""
    talk = Conversation(signed_request())
    messages = [accepted_frame(position=2), QueuedFrame(position=0, eta_s=1.0), TokensFrame(ids=(1,), text="x")]
    assert _send(talk, *messages, PingFrame(), DrainingFrame(deadline_s=9.0)) == [
        *messages,
        DrainingFrame(deadline_s=9.0),
    ]
    assert talk.client.first_output_at == 0.0


def test_unknown_frames_fail() -> None:
    """A frame of an unknown type fails the job: the node speaks another version."""
    talk = Conversation.about()
    data = frame(pack({"type": "meteor"}))
    assert isinstance(_failure(talk.client.receive_data(data, 0.0)), UnexpectedMessage)


def test_error_of_the_node() -> None:
    """The node's error is the job's, and ends it."""
    talk = Conversation.about()
    talk.say(3)
    talk.node.fail(JobError(ErrorCode.ENGINE_FAILED, "The engine crashed.", retryable=True))
    error = _failure(talk.node_sends())
    assert isinstance(error, JobError)
    assert (error.code, error.retryable) == (ErrorCode.ENGINE_FAILED, True)
    assert talk.client.receive_data(encode_frame(PingFrame()), 1.0) == []
    assert talk.client.on_timer(1e9) == []
    voucher = talk.client.closing_voucher()
    assert voucher is not None
    assert voucher.body.count == 3
    assert talk.client.closing_voucher() is voucher


def test_nothing_counts_after_done() -> None:
    """What a node sends behind done, in the same piece, is not read."""
    talk = Conversation.about()
    talk.node.finish(usage=talk.usage(), finish_reason="stop", now=1.0, finished_at=NOW)
    data = talk.node.frames[-1] + encode_frame(TokensFrame(ids=(1,), text="x")) + b"\xff\xff\xff\xff"[:3]
    (event,) = talk.client.receive_data(data, 0.0)
    assert isinstance(event, Completed)


def test_a_failed_job_fails_once() -> None:
    """After a failure nothing is read any more, whatever comes."""
    talk = Conversation.about()
    assert len(talk.client.receive_data(b"\xff\xff\xff\xff", 0.0)) == 1
    assert talk.client.receive_data(b"\xff\xff\xff\xff", 0.0) == []


def test_picture_job() -> None:
    """A picture job with progress, previews and two pictures completes."""
    talk = Conversation.about(image_params(), Task.IMAGE_GEN)
    for number in range(2):
        talk.node.progress(16 * (number + 1), 32, b"preview")
        talk.node.blob(Blob(id=number, media_type="image/png", data=bytes(400_000), units=64), now=1.0)
    events = talk.node_sends()
    assert [type(event) for event in events] == [ProgressFrame, Blob, ProgressFrame, Blob]
    (completed,) = talk.finish(input_tokens=0, images=2, image_units=128)
    assert isinstance(completed, Completed)
    assert talk.node.is_settled


def test_speech_job() -> None:
    """A speech job bills the audio up to its last segment's end."""
    talk = Conversation.about(speech_params(), Task.WHISPER)
    talk.node.segment(SegmentFrame(start_ms=0, end_ms=4_600, text="hello"), now=1.0)
    talk.node_sends()
    (completed,) = talk.finish(input_tokens=0, audio_ms=4_600)
    assert isinstance(completed, Completed)
    assert completed.voucher.body.count == 4_600


def test_embedding_job() -> None:
    """An embedding job bills its input and has one blob."""
    talk = Conversation.about(embedding_params(), Task.EMBEDDING)
    talk.node.blob(Blob(id=0, media_type="application/octet-stream", data=bytes(3_072)), now=1.0)
    (blob,) = talk.node_sends()
    assert isinstance(blob, Blob)
    (completed,) = talk.finish()
    assert isinstance(completed, Completed)
    assert (completed.voucher.body.count, completed.voucher.body.input_count) == (0, 17)

"""The client's side of a job stream."""

import pytest
from gpunode_protocol.blobs import Blob, blob_frames
from gpunode_protocol.client_job import Completed, Failed, JobEvent
from gpunode_protocol.errors import ErrorCode, JobError, UnexpectedMessage, VerificationFailed
from gpunode_protocol.messages import (
    BlobFrame,
    CancelFrame,
    Frame,
    PingFrame,
    RequestFrame,
    SegmentFrame,
    TokensFrame,
    encode_frame,
)
from gpunode_protocol.node_stream import NodeStream
from gpunode_protocol.patience import Patience, patience_for
from gpunode_protocol.tasks import Task

from tests.protocol.conversation import Conversation, accepted_frame
from tests.protocol.samples import NOW, SALT, chat_params, embedding_params, image_params, signed_request, speech_params


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


def test_pings_before_accepted_do_not_keep_the_client() -> None:
    """A node that pings but never accepts is given up, and another may be tried."""
    talk = Conversation(signed_request())
    for second in range(1, 31):
        assert not talk.client.is_over
        talk.client.receive_data(encode_frame(PingFrame()), float(second))
        events = talk.client.on_timer(float(second))
    error = _failure(events)
    assert isinstance(error, JobError)
    assert (error.code, error.retryable) == (ErrorCode.TIME_LIMIT, True)


def test_pings_after_a_cancel_do_not_keep_the_client() -> None:
    """A node that pings on after a cancel is given up, and the timer does not spin meanwhile."""
    talk = Conversation.about(patience=Patience(min_units_per_s=10.0))
    talk.say(20)
    talk.client.cancel()
    for second in range(1, 31):
        assert not talk.client.is_over
        talk.client.receive_data(encode_frame(PingFrame()), float(second))
        events = talk.client.on_timer(float(second))
        at = talk.client.next_timer()
        assert at is None or at > second
    assert "did not stop" in str(_failure(events))


def test_a_picture_that_progresses_is_not_too_slow() -> None:
    """A picture is paid when it is whole, but its steps count as speed."""
    patience = patience_for(predicted_first_output_s=1.0, advertised_units_per_s=128 / 40)  # 40 s for both pictures
    talk = Conversation.about(image_params(), Task.IMAGE_GEN, patience=patience)
    for second in range(1, 33):
        talk.now = float(second)
        talk.node.progress(second, 32)
        talk.node_sends()
        assert talk.client.on_timer(talk.now) == []


def test_an_embedding_has_no_speed() -> None:
    """A demanded speed of output says nothing about a job that has no output units."""
    talk = Conversation.about(embedding_params(), Task.EMBEDDING, patience=Patience(min_units_per_s=10.0))
    for second in range(1, 33):
        talk.now = float(second)
        talk.node.progress(second, 64)
        talk.node_sends()
        assert talk.client.on_timer(talk.now) == []


def test_a_pause_of_the_reader_is_not_the_nodes_fault() -> None:
    """Whoever stopped reading begins all waiting anew."""
    talk = Conversation.about(patience=Patience(min_units_per_s=10.0))
    talk.say(20)
    talk.client.reading_resumed(500.0)
    assert talk.client.on_timer(504.0) == []


AUDIO = (Blob(id=0, media_type="audio/wav", data=bytes(600_000)),)


def test_inputs_follow_accepted() -> None:
    """Inputs travel after ``accepted``, one piece of at most 256 KiB at a time."""
    talk = Conversation(signed_request(speech_params(), Task.WHISPER), inputs=AUDIO)
    assert talk.client.data_to_send() == []
    talk.node.accept(accepted_frame(prompt_tokens=0), input_count=0)
    talk.client.receive_data(talk.node.frames[0], 0.0)
    sizes = []
    while pieces := talk.client.data_to_send():
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
    talk.stream.receive_data(*talk.client.data_to_send())
    talk.client.cancel()
    talk.client.cancel()
    assert [type(event) for event in talk.client_sends()] == [CancelFrame]


def _reattached(talk: Conversation) -> Conversation:
    """Cut the stream and let the client come back with the same request to the same job."""
    again = Conversation(talk.request)
    again.client = talk.client.reattached(talk.now)
    again.stream, again.node, again.now = NodeStream(), talk.node, talk.now
    return again


def test_reattached_client_hears_all_again() -> None:
    """On a second stream the job is heard from its beginning, and ends as if nothing had been."""
    talk = Conversation.about()
    talk.say(150)
    again = _reattached(talk)
    again.client_sends()
    again.node_sends()
    again.say(20)
    (completed,) = again.finish()
    assert isinstance(completed, Completed)
    assert completed.usage.output_tokens == 170
    assert again.node.is_settled


def test_reattached_client_repeats_its_last_voucher() -> None:
    """The voucher may have been lost with the stream, and the node be waiting for it."""
    talk = Conversation.about()
    for number in range(127):
        talk.node.tokens([number], "x", now=0.0)
    frames = b"".join(talk.node.frames[1:])
    talk.client.receive_data(frames, 0.0)  # the voucher that this causes gets lost
    assert talk.client.last_voucher is not None
    again = _reattached(talk)
    again.client_sends()
    assert again.node.vouched_count == 127
    again.node_sends()
    assert isinstance(again.finish()[-1], Completed)


def test_reattached_client_knows_all_its_vouchers() -> None:
    """The receipt may name an earlier voucher than the last one, which the node never got."""
    talk = Conversation.about()
    talk.say(64)
    for number in range(64):
        talk.node.tokens([number], "x", now=0.0)
    talk.client.receive_data(b"".join(talk.node.frames[65:]), 0.0)
    talk.node.finish(usage=talk.usage(), finish_reason="stop", now=1.0, finished_at=NOW)
    assert talk.node.vouched_count == 64
    again = _reattached(talk)
    again.client_sends()
    assert isinstance(again.node_sends()[-1], Completed)


def test_reattached_client_sends_no_input_twice() -> None:
    """Inputs that were sent are at the node."""
    talk = Conversation(signed_request(speech_params(), Task.WHISPER), inputs=AUDIO)
    talk.accept(prompt_tokens=0)
    again = _reattached(talk)
    again.client_sends()
    again.node_sends()
    assert [type(event) for event in again.node_events if isinstance(event, BlobFrame)] == []

"""When the client vouches, and when it gives a node up."""

from gpunode_protocol.client_job import Completed, Failed, JobEvent
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.messages import PingFrame, VoucherFrame, encode_frame
from gpunode_protocol.patience import Patience, patience_for
from gpunode_protocol.tasks import Task

from tests.protocol.conversation import Conversation, accepted_frame
from tests.protocol.samples import AUDIO, chat_params, embedding_params, image_params, signed_request, speech_params


def _failure(events: list[JobEvent]) -> Exception:
    """Return the error of the last event, which must be a failure."""
    assert isinstance(events[-1], Failed)
    return events[-1].error


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
    units_per_s = 128 / 40  # 40 s for both pictures
    patience = patience_for(task=Task.IMAGE_GEN, predicted_first_output_s=1.0, advertised_units_per_s=units_per_s)
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


def test_the_first_output_is_awaited_from_the_last_piece_of_input() -> None:
    """Whoever uploads reads nothing: neither silence nor the wait for output is counted meanwhile."""
    talk = Conversation(
        signed_request(speech_params(), Task.WHISPER), inputs=AUDIO, patience=Patience(first_output_s=4.0)
    )
    talk.node.accept(accepted_frame(prompt_tokens=0), input_count=0)
    talk.client.receive_data(talk.node.frames[0], 0.0)
    for second in (0.0, 8.0, 16.0, 24.0):
        talk.client.data_to_send(second)
    assert talk.client.on_timer(27.0) == []
    assert "No output came within 4 s" in str(_failure(talk.client.on_timer(28.0)))


def _vouched(talk: Conversation) -> int:
    """Return how many vouchers the client has sent."""
    return sum(isinstance(event, VoucherFrame) for event in talk.node_events)


def test_voucher_every_64_tokens() -> None:
    """While tokens come quickly, every 64th causes a voucher for all so far."""
    talk = Conversation.about(chat_params(max_tokens=1_000))
    for expected in range(1, 5):
        talk.say(63, each_s=0.001)
        assert _vouched(talk) == expected - 1
        talk.say(1)
        assert _vouched(talk) == expected
        assert talk.node.vouched_count == 64 * expected


def test_a_voucher_is_not_due_again_once_its_time_has_come() -> None:
    """Also where the instant cannot be written exactly: whoever waits for it would turn in circles."""
    talk = Conversation.about()
    talk.now = 0.3
    talk.say(1)
    due_at = talk.client.next_timer()
    assert due_at is not None
    assert talk.client.on_timer(due_at) == []
    talk.client_sends()
    assert _vouched(talk) == 1


def test_voucher_every_two_seconds() -> None:
    """While tokens come slowly, a voucher goes out 2 s after the first that is not vouched for."""
    talk = Conversation.about()
    talk.now = 1.0
    talk.say(1)
    assert talk.client.next_timer() == 3.0
    assert talk.client.on_timer(2.9) == []
    talk.client_sends()
    assert _vouched(talk) == 0
    assert talk.client.on_timer(3.0) == []
    talk.client_sends()
    assert (_vouched(talk), talk.node.vouched_count) == (1, 1)
    assert talk.client.on_timer(5.0) == []
    talk.client_sends()
    assert _vouched(talk) == 1  # nothing new came


def test_voucher_with_a_late_token() -> None:
    """A token that comes 2 s after the last voucher is vouched for at once."""
    talk = Conversation.about()
    talk.say(64, each_s=0.01)
    talk.say(1, each_s=2.0)
    assert talk.node.vouched_count == 65


def test_the_node_never_has_to_wait() -> None:
    """With vouchers every 64 tokens the node's limit of 128 is never reached."""
    talk = Conversation.about(chat_params(max_tokens=1_000))
    for _ in range(1_000):
        assert talk.node.may_produce
        talk.say(1)


def test_no_voucher_for_nothing() -> None:
    """A job without output ends with its final voucher only."""
    talk = Conversation.about()
    assert talk.client.closing_voucher() is None
    (completed,) = talk.finish(finish_reason="length")
    assert isinstance(completed, Completed)
    assert (completed.voucher.body.count, completed.voucher.body.input_count) == (0, 17)
    assert _vouched(talk) == 1


def test_silent_node() -> None:
    """Without any frame for 5 s the node is given up."""
    talk = Conversation.about()
    assert talk.client.next_timer() == 5.0
    assert isinstance(_failure(talk.client.on_timer(5.0)), JobError)

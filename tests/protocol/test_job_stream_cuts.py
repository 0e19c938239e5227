"""Job streams that are cut, mixed up or damaged, and clients that come back."""

from itertools import pairwise

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import Completed, Failed, JobEvent
from gpunode_protocol.errors import JobError
from gpunode_protocol.messages import AcceptedFrame, BlobFrame, PingFrame, TokensFrame, encode_frame
from gpunode_protocol.node_stream import NodeStream
from gpunode_protocol.tasks import Task
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.conversation import Conversation, new_client
from tests.protocol.samples import NOW, signed_request, speech_params

AUDIO = (Blob(id=0, media_type="audio/wav", data=bytes(600_000)),)


def _whole_chat() -> Conversation:
    """Return a chat that is done at the node, for which no voucher has come yet."""
    talk = Conversation.about()
    talk.say(60)
    talk.node.finish(usage=talk.usage(), finish_reason="stop", now=1.0, finished_at=NOW)
    return talk


WHOLE = _whole_chat()
FRAMES = [*WHOLE.node.frames, encode_frame(PingFrame())]


def _failure(events: list[JobEvent]) -> Exception:
    """Return the error of the last event, which must be a failure."""
    assert isinstance(events[-1], Failed)
    return events[-1].error


def test_cut_after_every_frame() -> None:
    """Wherever a stream is cut, the client fails, and vouches for exactly what it received."""
    frames = WHOLE.node.frames
    for length in range(len(frames)):
        client = new_client(WHOLE.request)
        for data in frames[:length]:
            client.receive_data(data, 0.0)
        assert isinstance(_failure(client.receive_eof()), JobError)
        assert client.receive_eof() == []
        assert client.next_timer() is None
        voucher = client.closing_voucher()
        received = max(0, length - 1)
        assert (voucher.body.count if voucher else 0) == received
        assert voucher is None or not voucher.body.final
        assert voucher is None or WHOLE.node._voucher_problem(voucher.body) is None


def test_a_node_that_refuses_connections_has_cut_the_stream() -> None:
    """What came is vouched for, another node may be asked, and the reason is told, once."""
    client = new_client(WHOLE.request)
    for data in WHOLE.node.frames[:3]:
        client.receive_data(data, 0.0)
    error = _failure(client.receive_refusal())
    assert isinstance(error, JobError)
    assert error.retryable
    assert "refuses connections" in str(error)
    assert client.receive_refusal() == client.receive_eof() == []
    voucher = client.closing_voucher()
    assert voucher is not None
    assert voucher.body.count == 2


def test_cut_inside_a_frame() -> None:
    """Half a done is no done."""
    talk = Conversation.about()
    talk.say(3)
    talk.node.finish(usage=talk.usage(), finish_reason="stop", now=1.0, finished_at=NOW)
    done = talk.node.frames[-1]
    for length in range(0, len(done), 50):
        again = new_client(talk.request)
        again.receive_data(b"".join(talk.node.frames[:-1]) + done[:length], 0.0)
        assert isinstance(again.receive_eof()[-1], Failed)


@given(st.lists(st.integers(0, 6_000), max_size=12))
def test_any_pieces(cuts: list[int]) -> None:
    """However the node's bytes are cut, the job ends the same."""
    client = new_client(WHOLE.request)
    stream = b"".join(WHOLE.node.frames)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    events: list[JobEvent] = []
    for start, end in pairwise(places):
        events += client.receive_data(stream[start:end], 0.0)
    assert [type(event) for event in events] == [AcceptedFrame] + [TokensFrame] * 60 + [Completed]


@given(st.data())
def test_mutated_streams(data: st.DataObject) -> None:
    """Changed bytes never raise; a job that completes all the same received what was sent."""
    raw = bytearray(b"".join(WHOLE.node.frames))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    client = new_client(WHOLE.request)
    cut = data.draw(st.integers(0, len(raw)))
    events = client.receive_data(bytes(raw[:cut]), 0.0) + client.receive_data(bytes(raw[cut:]), 1.0)
    events += client.receive_eof() + client.on_timer(1e9)
    assert sum(isinstance(event, Completed | Failed) for event in events) == 1
    if isinstance(events[-1], Completed):
        assert client.output.digest() == WHOLE.node.output.digest()
    voucher = client.closing_voucher()
    assert voucher is None or voucher.body.count <= 256


@given(st.lists(st.sampled_from(range(63)), max_size=20))
def test_frames_in_any_order(order: list[int]) -> None:
    """Frames out of order, repeated or left out never raise, and never complete unless all came in order."""
    client = new_client(WHOLE.request)
    events: list[JobEvent] = []
    for number in order:
        events += client.receive_data(FRAMES[number], 0.0)
    assert not any(isinstance(event, Completed) for event in events)
    assert sum(isinstance(event, Failed) for event in events) == client.is_over


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

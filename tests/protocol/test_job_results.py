"""Results of queued jobs, read from what a node really sends."""

import base64
import json
import struct
from typing import Any

import pytest
from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import Completed
from gpunode_protocol.errors import VerificationFailed
from gpunode_protocol.job_results import CALLS_MARK, ResultReader
from gpunode_protocol.jobs_api import JobEventName
from gpunode_protocol.messages import AcceptedFrame, ProgressFrame, SegmentFrame, TokensFrame, Word
from gpunode_protocol.payloads import Params, Usage

from tests.protocol.conversation import PROMPT_TOKENS, Conversation, accepted_frame
from tests.protocol.samples import chat_params, embedding_params, image_params, speech_params

CALLS = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]


@pytest.fixture(scope="module")
def chat() -> Conversation:
    """A whole chat of three tokens."""
    conversation = Conversation.about(chat_params())
    conversation.say(3)
    conversation.finish()
    return conversation


def done_with(chat: Conversation, finish_reason: str = "stop", **usage: int) -> Completed:
    """Return an end with another usage: the reader takes it from a machine that has verified it."""
    (done,) = (event for event in chat.events if isinstance(event, Completed))
    return Completed(Usage(**usage), finish_reason, done.receipt, done.voucher)


def read(params: Params, events: list[Any], done: Completed) -> dict[str, Any]:
    """Return the result of some events."""
    reader = ResultReader(params)
    for event in events:
        reader.take(event)
    return reader.result(done)


def test_a_chat_from_its_stream(chat: Conversation) -> None:
    """The plan's shape: response and usage, as the verified receipt states it."""
    reader = ResultReader(chat_params())
    told = [news for event in chat.events if (news := reader.take(event)) is not None]
    done = next(event for event in chat.events if isinstance(event, Completed))
    assert reader.result(done) == {
        "response": "t0 t1 t2 ",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 3},
    }
    assert told == [(JobEventName.TOKENS, {"text": f"t{number} "}) for number in range(3)]


def test_calls_are_no_text(chat: Conversation) -> None:
    """Followers see the text before them; the result has both apart."""
    params = chat_params(tools="[]")
    whole = f"Let me see.{CALLS_MARK}{json.dumps(CALLS)}"
    frames = [TokensFrame(ids=(1,), text=whole[:14]), TokensFrame(ids=(2,), text=whole[14:])]
    reader = ResultReader(params)
    assert [reader.take(frame) for frame in frames] == [(JobEventName.TOKENS, {"text": "Let me see."}), None]
    result = reader.result(done_with(chat, "tool_calls", output_tokens=2))
    assert (result["response"], result["tool_calls"]) == ("Let me see.", CALLS)


@pytest.mark.parametrize("text", ["no calls", f"x{CALLS_MARK}", f"x{CALLS_MARK}{{}}", f"x{CALLS_MARK}[7]"])
def test_calls_that_cannot_be_read(chat: Conversation, text: str) -> None:
    """The node said that it calls, and does not."""
    with pytest.raises(VerificationFailed, match="calls of functions"):
        read(
            chat_params(tools="[]"),
            [TokensFrame(ids=(1,), text=text)],
            done_with(chat, "tool_calls", output_tokens=1),
        )


def test_a_mark_without_tools_is_text(chat: Conversation) -> None:
    """Nobody asked for calls."""
    frames = [TokensFrame(ids=(1,), text=f"a{CALLS_MARK}b")]
    assert read(chat_params(), frames, done_with(chat, output_tokens=1))["response"] == f"a{CALLS_MARK}b"


def test_pictures(chat: Conversation) -> None:
    """Base64 with their kind; steps are told."""
    params = image_params()
    blobs = [Blob(0, "image/png", b"one", 64), Blob(1, "image/png", b"two", 64)]
    reader = ResultReader(params)
    assert reader.take(ProgressFrame(step=3, total=32)) == (JobEventName.PROGRESS, {"step": 3, "total": 32})
    for blob in blobs:
        assert reader.take(blob) is None
    result = reader.result(done_with(chat, images=2, image_units=128))
    assert [base64.b64decode(picture["data"]) for picture in result["images"]] == [b"one", b"two"]
    assert {picture["media_type"] for picture in result["images"]} == {"image/png"}
    assert result["usage"] == {"images": 2, "image_units": 128}


def test_a_picture_too_few(chat: Conversation) -> None:
    """The receipt may be true, but this is not what was asked for."""
    with pytest.raises(VerificationFailed, match="1 of 2 pictures"):
        read(image_params(), [Blob(0, "image/png", b"one", 64)], done_with(chat, images=1, image_units=64))


def test_a_transcript(chat: Conversation) -> None:
    """Times in seconds; silence is no segment; words where they were asked for."""
    frames = [
        SegmentFrame(start_ms=0, end_ms=1_500, text=" Hello", language="en"),
        SegmentFrame(start_ms=1_500, end_ms=2_000, text=""),
        SegmentFrame(
            start_ms=2_000, end_ms=3_250, text=" world.", words=(Word(start_ms=2_000, end_ms=3_250, text=" world."),)
        ),
    ]
    assert read(speech_params(), frames, done_with(chat, audio_ms=3_250)) == {
        "text": "Hello world.",
        "language": "en",
        "segments": [
            {"start": 0.0, "end": 1.5, "text": " Hello"},
            {
                "start": 2.0,
                "end": 3.25,
                "text": " world.",
                "words": [{"start": 2.0, "end": 3.25, "text": " world."}],
            },
        ],
        "usage": {"audio_ms": 3_250},
    }


def test_vectors(chat: Conversation) -> None:
    """One a text, in order."""
    blob = Blob(0, "application/octet-stream", struct.pack("<4f", 1.0, 2.0, 3.0, 4.0))
    result = read(embedding_params(), [blob], done_with(chat, input_tokens=9))
    assert result == {"embeddings": [[1.0, 2.0], [3.0, 4.0]], "usage": {"prompt_tokens": 9}}


def test_vectors_that_came_twice(chat: Conversation) -> None:
    """The last ones count: what a node sent that failed then was begun anew by another."""
    failed = Blob(0, "application/octet-stream", struct.pack("<2f", 9.0, 9.0))
    blob = Blob(0, "application/octet-stream", struct.pack("<4f", 1.0, 2.0, 3.0, 4.0))
    result = read(embedding_params(), [failed, blob], done_with(chat, input_tokens=9))
    assert result["embeddings"] == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("data", [b"", b"1234", b"123456789"])
def test_no_vectors(chat: Conversation, data: bytes) -> None:
    """Two texts cannot have these."""
    blobs = [Blob(0, "application/octet-stream", data)] if data else []
    with pytest.raises(VerificationFailed, match="no 2 vectors"):
        read(embedding_params(), blobs, done_with(chat, input_tokens=9))


def test_a_speech_segment_is_told_as_text() -> None:
    """Whoever follows reads along."""
    reader = ResultReader(speech_params())
    assert reader.take(SegmentFrame(start_ms=0, end_ms=9, text="Hi")) == (JobEventName.TOKENS, {"text": "Hi"})
    assert reader.take(SegmentFrame(start_ms=9, end_ms=20, text="")) is None


def test_what_says_nothing_is_not_told() -> None:
    """That a node has accepted the job is known already."""
    accepted: AcceptedFrame = accepted_frame()
    assert ResultReader(chat_params()).take(accepted) is None

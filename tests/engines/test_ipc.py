import dataclasses
from typing import get_args

import pytest
from gpunode_engines import ipc
from gpunode_engines.base import (
    Blob,
    ChatMessage,
    Finished,
    PreparedPrompt,
    PrepareRequest,
    Progress,
    Segment,
    TokenLogprob,
    Tokens,
    Word,
)
from gpunode_engines.ipc import BackendOptions, ChildMessage, ParentMessage
from gpunode_engines.media import EmbeddingRequest, ImageRequest, SpeechRequest
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.safe_msgpack import pack
from gpunode_protocol.tasks import Task

from tests.engines.scripted_engine import ask

OPTIONS = BackendOptions(context_tokens=10, slots=1, threads=1, use_gpu=False, chat_template="{{ x }}")
PARENT_MESSAGES: list[ParentMessage] = [
    ipc.Load(task=Task.LLM, backend="llamacpp", model="m", root="/", files=("/a", "/b"), options=OPTIONS),
    ipc.Prepare(call=1, request=PrepareRequest(messages=(ChatMessage(role="user", content="hé"),), now=5)),
    ipc.Prepare(call=2, request=EmbeddingRequest(job_key="j", inputs=("a", "b"))),
    ipc.Generate(request=ImageRequest(job_key="j", prompt="p", width=8, height=8, steps=1, image=b"\x00")),
    ipc.Generate(request=SpeechRequest(job_key="j", audio=b"RIFF", max_audio_ms=1)),
    ipc.Generate(request=ask("hi", seed=3, stop=("a", "b"), logprobs=0, resume_ids=(1,), deadline_s=1.5)),
    ipc.Cancel(job_key="j"),
    ipc.Ping(),
    ipc.Shutdown(),
]
EVENTS = [
    Tokens(ids=(1, 2), text="é", logprobs=(TokenLogprob(token_id=1, logprob=-0.5, top=((1, -0.5), (2, -1.0))),)),
    Progress(step=1, total=2),
    Progress(step=1, total=2, preview=b"\xff\xd8"),
    Segment(start_ms=0, end_ms=10, text="x"),
    Segment(start_ms=0, end_ms=10, text="x", language="en", words=(Word(start_ms=0, end_ms=5, text="x"),)),
    Blob(index=0, offset=0, total_bytes=2, data=b"\x00\xff", media_type="image/png"),
    Finished(reason="stop", prompt_tokens=1, output_tokens=2),
]
CHILD_MESSAGES: list[ChildMessage] = [
    ipc.Loaded(backend_version="1", context_tokens=1, slots=1, device="cpu"),
    ipc.LoadFailed(message="no"),
    ipc.Prepared(call=1, prompt=PreparedPrompt(token_ids=(1, 2), rendered=b"\xff")),
    ipc.CallFailure(call=1, error="E", message="m"),
    *(ipc.JobEvent(job_key="j", event=event) for event in EVENTS),
    ipc.JobFailure(job_key="j", error="E", message="m"),
    ipc.Denied(act="socket"),
    ipc.Pong(),
]


def test_every_message_is_tested_here() -> None:
    """A new message gets its round trip."""
    assert {type(message) for message in PARENT_MESSAGES} == set(get_args(ParentMessage))
    assert {type(message) for message in CHILD_MESSAGES} == set(get_args(ChildMessage))


@pytest.mark.parametrize("message", PARENT_MESSAGES, ids=lambda message: message.type)
def test_parent_messages_survive_the_trip(message: ParentMessage) -> None:
    """Decoding gives what was encoded, types included."""
    assert ipc.decode_parent(ipc.encode_parent(message)) == message


@pytest.mark.parametrize("message", CHILD_MESSAGES, ids=lambda message: message.type)
def test_child_messages_survive_the_trip(message: ChildMessage) -> None:
    """Decoding gives what was encoded, types included."""
    assert ipc.decode_child(ipc.encode_child(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pack({}),
        pack({"type": "load"}),
        pack({"type": "nonsense"}),
        pack([1, 2]),
        pack({"type": "job_event", "job_key": "j", "event": {"type": "tokens", "ids": ["x"], "text": ""}}),
        b"\x91" * 1000 + b"\x01",
    ],
)
def test_malformed_messages_are_refused(data: bytes) -> None:
    """Whatever a broken child sends gives one kind of error."""
    with pytest.raises(MalformedMessage):
        ipc.decode_child(data)


def test_messages_are_frozen() -> None:
    """A message in a queue does not change."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        ipc.Cancel(job_key="a").job_key = "b"  # type: ignore[misc]  # -- what must not work

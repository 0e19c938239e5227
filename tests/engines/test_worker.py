"""The worker in this process, on a socket pair; as a process of its own: test_supervisor."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gpunode_engines.base import ChatMessage, Finished, PreparedPrompt, PrepareRequest, Tokens
from gpunode_engines.channel import ChildChannel
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.ipc import (
    MAX_CHILD_FRAME_BYTES,
    CallFailure,
    Cancel,
    ChildMessage,
    Denied,
    Generate,
    JobEvent,
    JobFailure,
    ParentMessage,
    Ping,
    Pong,
    Prepare,
    Prepared,
    Shutdown,
    decode_child,
    encode_parent,
)
from gpunode_engines.worker import Worker

from tests.engines.scripted_backend import ScriptedBackend
from tests.engines.scripted_engine import ask


class ParentSide:
    """The parent's end of the pipe, blocking."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = sock.makefile("rb")

    def close(self) -> None:
        """Close what this object opened."""
        self._reader.close()

    def send(self, message: ParentMessage) -> None:
        """Send a message."""
        data = encode_parent(message)
        self._sock.sendall(len(data).to_bytes(4, "big") + data)

    def receive(self) -> ChildMessage:
        """Return the next message."""
        length = int.from_bytes(self._reader.read(4), "big")
        assert length <= MAX_CHILD_FRAME_BYTES
        return decode_child(self._reader.read(length))


@contextmanager
def serving_worker(*, calls_reported: bool = True) -> Iterator[ParentSide]:
    """Have a worker serve in a thread; it ends with the context."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker = Worker(ChildChannel(theirs), ScriptedBackend(), slots=2, calls_reported=calls_reported)
        thread = threading.Thread(target=worker.serve)
        thread.start()
        side = ParentSide(ours)
        yield side
        side.send(Shutdown())
        thread.join()
        side.close()


@pytest.fixture
def parent() -> Iterator[ParentSide]:
    """A worker."""
    with serving_worker() as side:
        yield side


def until_end(parent: ParentSide) -> list[ChildMessage]:
    """Return messages up to the end of a job."""
    messages = [parent.receive()]
    while not (
        isinstance(messages[-1], JobFailure)
        or (isinstance(messages[-1], JobEvent) and isinstance(messages[-1].event, Finished))
    ):
        messages.append(parent.receive())
    return messages


def test_a_ping_is_answered(parent: ParentSide) -> None:
    """Pong, at once."""
    parent.send(Ping())
    assert parent.receive() == Pong()


def test_a_prompt_is_prepared(parent: ParentSide) -> None:
    """The answer carries the call's number."""
    parent.send(Prepare(call=7, request=PrepareRequest(messages=(ChatMessage(role="user", content="hi"),))))
    assert parent.receive() == Prepared(call=7, prompt=PreparedPrompt(token_ids=(104, 105), rendered=b"hi"))


def test_a_failed_call_is_reported(parent: ParentSide) -> None:
    """With the class, and without the text that may quote the prompt."""
    parent.send(Prepare(call=7, request=PrepareRequest(messages=(ChatMessage(role="user", content="raise"),))))
    answer = parent.receive()
    assert isinstance(answer, CallFailure)
    assert answer.error == "BackendFailed"
    assert "secret" not in answer.message


def test_a_call_that_is_refused_a_file_is_reported(parent: ParentSide) -> None:
    """The process lives on: other jobs run in it."""
    parent.send(Prepare(call=7, request=PrepareRequest(messages=(ChatMessage(role="user", content="EACCES"),))))
    assert parent.receive() == Denied(act="a file (EACCES)")
    answer = parent.receive()
    assert isinstance(answer, CallFailure)
    assert (answer.call, answer.error) == (7, "BackendFailed")


def test_a_job_gives_events(parent: ParentSide) -> None:
    """Up to Finished."""
    parent.send(Generate(request=ask("hi")))
    events = [message.event for message in until_end(parent) if isinstance(message, JobEvent)]
    assert [event.text for event in events if isinstance(event, Tokens)] == ["h", "i"]


def test_a_failed_job_is_reported(parent: ParentSide) -> None:
    """An EngineError keeps its class and its text."""
    parent.send(Generate(request=ask("overflow")))
    assert until_end(parent)[-1] == JobFailure(job_key="job", error="ContextOverflow", message="too long")


class _PanicException(BaseException):
    """As Rust's, of tokenizers and safetensors."""


@pytest.mark.parametrize(
    ("raised", "name", "text"),
    [
        (_PanicException("index out of bounds"), "BackendFailed", "failed with _PanicException"),
        (InvalidParameters("no tool \ud83d"), "InvalidParameters", r"no tool \ud83d"),
        (UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates"), "InvalidParameters", "half a character"),
    ],
    ids=["a panic", "a text that cannot be sent", "a request that cannot be written"],
)
def test_no_failure_is_kept_silent(
    parent: ParentSide, monkeypatch: pytest.MonkeyPatch, raised: BaseException, name: str, text: str
) -> None:
    """The parent would wait for the job's end, and take the engine for hung."""

    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(ScriptedBackend, "generate", fail)
    monkeypatch.setattr(ScriptedBackend, "prepare", fail)
    parent.send(Generate(request=ask("hi")))
    failure = parent.receive()
    assert isinstance(failure, JobFailure)
    assert failure.error == name
    assert text in failure.message
    parent.send(Prepare(call=1, request=PrepareRequest(messages=(ChatMessage(role="user", content="hi"),))))
    refused = parent.receive()
    assert isinstance(refused, CallFailure)
    assert refused.error == name


def test_pings_are_answered_while_a_job_runs_and_cancel_ends_it(parent: ParentSide) -> None:
    """The main thread never blocks on work; an unknown key is ignored."""
    parent.send(Generate(request=ask("endless")))
    parent.send(Ping())
    while not isinstance(parent.receive(), Pong):
        pass
    parent.send(Cancel(job_key="other"))
    parent.send(Cancel(job_key="job"))
    last = until_end(parent)[-1]
    assert isinstance(last, JobEvent)
    assert isinstance(last.event, Finished)
    assert last.event.reason == "cancelled"


def test_a_key_can_be_used_again(parent: ParentSide) -> None:
    """Once a job has ended, its key is free."""
    for _ in range(3):
        parent.send(Generate(request=ask("hi")))
        assert isinstance(until_end(parent)[-1], JobEvent)


@pytest.mark.parametrize(
    ("calls_reported", "name", "acts"),
    [
        (True, "EACCES", ["a file (EACCES)"]),
        (True, "EPERM", []),
        (False, "EPERM", ["a file (EPERM)"]),
    ],
)
def test_a_refused_file_is_told_once(*, calls_reported: bool, name: str, acts: list[str]) -> None:
    """EACCES is Landlock's answer; EPERM is that of a refused system call, which the kernel reports if it can."""
    with serving_worker(calls_reported=calls_reported) as parent:
        parent.send(Generate(request=ask(name)))
        messages = until_end(parent)
    assert [message.act for message in messages if isinstance(message, Denied)] == acts
    assert messages[-1] == JobFailure(
        job_key="job", error="BackendFailed", message="The backend failed with PermissionError; try another node."
    )

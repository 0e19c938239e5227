"""The signed request's form."""

from typing import Any

import pytest
from gpunode_protocol.errors import ErrorCode, JobError, MalformedMessage
from gpunode_protocol.payloads import LlmParams
from gpunode_protocol.requests import JobRequest, Resume, task_of
from gpunode_protocol.signing import open_signed
from gpunode_protocol.tasks import Task
from pydantic import ValidationError

from tests.protocol.samples import CLIENT, JOB, chat_params, request_body, signed_request

FIELDS = request_body().to_map()


def test_round_trip() -> None:
    """A request is read as it was signed, and its parameters by its task."""
    opened = open_signed(JobRequest, signed_request().envelope, CLIENT.public_key).body
    assert opened.job == JOB
    assert opened.read_params() == chat_params()
    assert isinstance(opened.read_params(), LlmParams)


def test_resumed_round_trip() -> None:
    """What a resumed segment needs is read as it was signed."""
    resume = Resume(ids=(1, 2**32 - 1), text_offset=5, prompt_digest=b"\x01" * 32)
    signed = signed_request(segment=1, resume=resume, start=2, previous_voucher=b"\x02" * 32, fingerprint=b"\x03" * 32)
    assert open_signed(JobRequest, signed.envelope, CLIENT.public_key).body.resume == resume


@pytest.mark.parametrize("key", sorted(FIELDS.keys() - {"v", "start"}))
def test_mandatory_fields(key: str) -> None:
    """A request without one of its fields is refused."""
    with pytest.raises(MalformedMessage):
        JobRequest.from_map({name: value for name, value in FIELDS.items() if name != key})


@pytest.mark.parametrize(
    "change",
    [
        {"salt": bytes(31)},
        {"salt": bytes(33)},
        {"grant": ""},
        {"grant": "x" * 8_193},
        {"segment": 64},
        {"issued_at": 1.0},
        {"issued_at": -1},
        {"task": "x" * 33},
        {"model": "a/b"},
        {"params": ()},
        {"params": None},
        {"fingerprint": bytes(20)},
        {"resume": {"ids": (), "text_offset": 0, "prompt_digest": bytes(32)}},
        {"resume": {"ids": (2**32,), "text_offset": 0, "prompt_digest": bytes(32)}},
        {"resume": {"ids": (1,) * 200_001, "text_offset": 0, "prompt_digest": bytes(32)}},
        {"resume": {"ids": (1,), "text_offset": -1, "prompt_digest": bytes(32)}},
        {"resume": {"ids": (1,), "text_offset": 0, "prompt_digest": b""}},
    ],
    ids=lambda change: str(change)[:50],
)
def test_limits(change: dict[str, Any]) -> None:
    """Fields out of range are refused."""
    with pytest.raises(MalformedMessage):
        JobRequest.from_map({**FIELDS, **change})


def test_many_wrong_ids_cost_little() -> None:
    """The first wrong id of 200,000 ends the reading: an error for each would take half a second."""
    resume = {"ids": ("x",) * 200_000, "text_offset": 0, "prompt_digest": bytes(32)}
    with pytest.raises(MalformedMessage) as caught:
        JobRequest.from_map({**FIELDS, "resume": resume})
    cause = caught.value.__cause__
    assert isinstance(cause, ValidationError)
    assert cause.error_count() < 5


def test_unknown_key_is_ignored() -> None:
    """A later version may add keys."""
    assert JobRequest.from_map({**FIELDS, "zeta": 1}) == JobRequest.from_map(FIELDS)


def test_tasks() -> None:
    """A task is known by its name, or answered with the known ones."""
    assert task_of("whisper") is Task.WHISPER
    with pytest.raises(JobError, match="llm, image_gen, whisper, embedding") as caught:
        task_of("chess")
    assert caught.value.code is ErrorCode.UNKNOWN_TASK


def test_parameters_of_an_unknown_task() -> None:
    """A request for an unknown task has no readable parameters, but is a readable request."""
    body = JobRequest.from_map({**FIELDS, "task": "chess"})
    with pytest.raises(JobError):
        body.read_params()

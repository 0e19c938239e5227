"""Shared field types and readable messages."""

from typing import Any

import pytest
from gpunode_protocol.validation import (
    Count,
    Digest,
    JobId,
    Name,
    NetworkId,
    PeerIdField,
    PositiveCount,
    RegionField,
    SegmentNumber,
    TaskField,
    UnixSeconds,
    first_problem,
)
from pydantic import TypeAdapter, ValidationError

from tests.protocol.samples import JOB, NETWORK, NODE


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (PeerIdField, [NODE.peer_id], ["", "x", NODE.peer_id + " ", NODE.peer_id[:-1]]),
        (Digest, [bytes(32)], [bytes(31), bytes(33), b""]),
        (NetworkId, [NETWORK], [NETWORK[:-1], NETWORK + "0", NETWORK.upper(), NETWORK + "\n", "\n" + NETWORK]),
        (JobId, [JOB], [JOB.upper(), JOB[:-1], JOB.replace("-7", "-4"), JOB + "\n", JOB.replace("-8", "-c")]),
        (Name, ["a", "qwen2.5:7b", "A_b-c", "x" * 64], ["", "x" * 65, "-a", ".a", "a b", "a/b", "*", "ä", "a\n"]),
        (Count, [0, 2**63 - 1], [-1, 2**63]),
        (PositiveCount, [1], [0]),
        (UnixSeconds, [0, 2**40], [-1, 2**40 + 1]),
        (SegmentNumber, [0, 63], [-1, 64]),
        (TaskField, ["llm", "whisper"], ["LLM", "", "chess"]),
        (RegionField, ["asia"], ["Asia", "atlantis"]),
    ],
)
def test_limits(kind: Any, good: list[Any], bad: list[Any]) -> None:
    """What a field takes and what it refuses."""
    adapter = TypeAdapter(kind)
    for value in good:
        assert adapter.validate_python(value) == value
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_message_names_the_field_and_not_the_value() -> None:
    """The one line says where and what, and repeats no input."""
    adapter = TypeAdapter(dict[str, tuple[Count, ...]])
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python({"a": (1, -123_456)})
    assert first_problem(caught.value) == "a.1: Input should be greater than or equal to 0"


def test_message_of_a_whole() -> None:
    """A value that is wrong as a whole is called the message."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Count).validate_python(-1)
    assert first_problem(caught.value).startswith("message: ")

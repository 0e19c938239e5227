"""Shared field types and readable messages."""

from typing import Annotated, Any, Literal

import pytest
from annotated_types import Gt, Le, MaxLen, MinLen, MultipleOf
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
from pydantic import AfterValidator, TypeAdapter, ValidationError

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
    assert first_problem(caught.value) == "a.1: must be at least 0"


def test_message_of_a_whole() -> None:
    """A value that is wrong as a whole is called the message."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Count).validate_python(-1)
    assert first_problem(caught.value).startswith("message: ")


def _settings(value: str) -> str:
    if value == "bad":
        raise ValueError("write it as 6000 or 50%")
    return value


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (Annotated[tuple[int, ...], MaxLen(2048)], (1,) * 2049, "message: must have at most 2,048 entries"),
        (Annotated[tuple[int, ...], MinLen(1)], (), "message: must have at least 1 entries"),
        (Annotated[str, MaxLen(3)], "abcd", "message: must have at most 3 characters"),
        (Annotated[int, Gt(0)], 0, "message: must be more than 0"),
        (Annotated[int, Le(8192)], 9_000, "message: must be at most 8,192"),
        (Annotated[int, MultipleOf(8)], 7, "message: must be a multiple of 8"),
        (int, "x", "message: must be a whole number"),
        (Literal["png", "jpeg"], "gif", "message: must be 'png' or 'jpeg'"),
        (Annotated[str, AfterValidator(_settings)], "bad", "message: write it as 6000 or 50%"),
    ],
)
def test_problems_are_told_in_words(kind: Any, value: Any, words: str) -> None:
    """Limits are those that a person meets, not the validator's types."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert first_problem(caught.value) == words

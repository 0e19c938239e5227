"""Shared field types with their limits, and readable validation messages."""

from typing import Annotated

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import AfterValidator, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from gpunode_protocol.errors import InvalidPeerId
from gpunode_protocol.identity import PeerId, parse_peer_id
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

MAX_INT64 = 2**63 - 1


def _peer_id(value: str) -> PeerId:
    try:
        return parse_peer_id(value)
    except InvalidPeerId as error:
        raise ValueError(str(error)) from error


PEER_ID_PATTERN = "^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$"
"""What all peer ids look like; most texts that look so are none."""

PeerIdField = Annotated[
    PeerId, AfterValidator(_peer_id), WithJsonSchema({"type": "string", "pattern": PEER_ID_PATTERN})
]
"""A peer id that holds an ed25519 key."""

Digest = Annotated[bytes, MinLen(32), MaxLen(32)]
"""32 bytes of SHA-256 or HMAC-SHA-256."""

Fingerprint = Digest
"""SHA-256 over weights, tokenizer, template, dtype, quantisation and backend of a loaded model."""

NetworkId = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
"""First 20 bytes of SHA-256 of the network's root key, as hex."""

JOB_ID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
JobId = Annotated[str, Field(pattern=JOB_ID_PATTERN)]
"""UUIDv7 in text form (RFC 9562)."""

Name = Annotated[str, MinLen(1), MaxLen(64), Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:-]*$")]
"""Model names, grant ids and the like: safe inside keys and paths."""

Count = Annotated[int, Ge(0), Le(MAX_INT64)]
"""Tokens, images, bytes, micro-credits: a whole number >= 0."""

PositiveCount = Annotated[int, Gt(0), Le(MAX_INT64)]

UnixSeconds = Annotated[int, Ge(0), Le(2**40)]
"""UTC instant in whole Unix seconds."""

MAX_SEGMENT_NUMBER = 63
"""A job has at most 64 segments."""

SegmentNumber = Annotated[int, Ge(0), Le(MAX_SEGMENT_NUMBER)]
"""Attempt number of a job: 0 first, one more at each resume or restart."""

TaskField = Annotated[Task, Field(strict=False)]
Latitude = Annotated[int, Ge(-90), Le(90)]
"""Whole degrees, south is negative."""
Longitude = Annotated[int, Ge(-180), Le(180)]
"""Whole degrees, west is negative."""

RegionField = Annotated[Region, Field(strict=False)]


def first_problem(error: ValidationError) -> str:
    """Return one line that names the field and what is wrong with it; input values are not repeated."""
    return all_problems(error)[0]


def all_problems(error: ValidationError) -> list[str]:
    """Return all of them, each as ``first_problem`` does."""
    return [_in_words(problem) for problem in error.errors(include_url=False, include_input=False)]


def _in_words(problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "message"
    words = _WORDS.get(problem["type"])
    limits = {name: _limit(value) for name, value in problem.get("ctx", {}).items()}
    return f"{where}: {words.format(**limits) if words else problem['msg'].removeprefix('Value error, ')}"


_WORDS = {
    "extra_forbidden": "is not known here",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_type": "must be text",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "too_long": "must have at most {max_length} entries",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} entries",
}
"""Of the validator's kinds of problem, those that people cause; it tells others in its own words."""


def _limit(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)

"""What stands in paths and headers: variables, request headers and answer headers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpunode_protocol.jobs_api import IDEMPOTENCY_KEY_HEADER
from gpunode_protocol.validation import JOB_ID_PATTERN, PEER_ID_PATTERN

_UUID: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_ID: Final = "^[A-Za-z0-9_-]{1,64}$"


@dataclass(frozen=True)
class Variable:
    """A variable of a path: the pattern of its text, what it is, and what one looks like."""

    pattern: str
    about: str
    example: str


VARIABLES: Final[Mapping[str, Variable]] = {
    "peer": Variable(PEER_ID_PATTERN, "Peer id of a node.", "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB"),
    "job": Variable(
        JOB_ID_PATTERN, "A job's id, as its submission returned it.", "0196a5f0-1d2c-7b3e-8f00-5a1b2c3d4e5f"
    ),
    "worker": Variable(
        _UUID, "A worker's id, as its registration returned it.", "7f0c2a9e-51d4-4c3b-9a57-2f6e8d1b0c4a"
    ),
    "receipt": Variable("^[0-9a-f]{64}$", "SHA-256 of a receipt's body, as hex.", hashlib.sha256().hexdigest()),
    "account": Variable(_ID, "An account's id.", "a3f1c0de9b2a4d715"),
    "key": Variable(_ID, "An API key's public id.", "2d711642b726b044"),
    "asset": Variable("^[a-z0-9.-]{1,64}$", "Name of a part of the documentation's page.", "start.js"),
}
"""By name."""

REQUEST_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    IDEMPOTENCY_KEY_HEADER: {
        "about": "Of the caller's choice: a request that comes again with it is carried out once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    },
}
"""Request headers beside those of the authentication."""

REPLY_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "X-Request-ID": {
        "description": "Names the request in the tracker's log: the caller's own, if it sent a sound one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "RateLimit": {
        "description": "The tightest budget that the request counted on: r = left, t = seconds until it is full.",
        "schema": {"type": "string", "pattern": '^"[a-z_]+";r=[0-9]+;t=[0-9]+$'},
    },
    "RateLimit-Policy": {
        "description": "That budget: q = requests at once, w = seconds in which so many come back.",
        "schema": {"type": "string", "pattern": '^"[a-z_]+";q=[0-9]+;w=[0-9]+$'},
    },
    "Location": {
        "description": "The path of the job.",
        "required": True,
        "schema": {"type": "string", "pattern": "^/api/v1/jobs/"},
    },
    "Retry-After": {
        "description": "Seconds after which trying again makes sense.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    },
}
"""Headers of answers, by name."""

ALL_REPLIES: Final = ("X-Request-ID", "RateLimit", "RateLimit-Policy")
BESIDE: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
"""Headers that answers of a status have beside those that all have."""

"""What stands in paths and headers: variables, request headers and answer headers."""

from collections.abc import Mapping
from typing import Any, Final

from gpunode_protocol.jobs_api import IDEMPOTENCY_KEY_HEADER
from gpunode_protocol.validation import PEER_ID_PATTERN

_UUID: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

VARIABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "peer": {"pattern": PEER_ID_PATTERN, "about": "Peer id of a node."},
    "job": {"pattern": _UUID, "about": "A job's id, as its submission returned it."},
    "worker": {"pattern": _UUID, "about": "A worker's id, as its registration returned it."},
    "receipt": {"pattern": "^[0-9a-f]{64}$", "about": "SHA-256 of a receipt's body, as hex."},
}
"""Variables of paths, by name: the pattern of their text and what they are."""

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
    202: ("Location",),
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
    504: ("Location",),
}
"""Headers that answers of a status have beside those that all have."""

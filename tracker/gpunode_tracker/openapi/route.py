"""What a route says of itself: aiohttp's routes and the OpenAPI document are both made of it, so they agree."""

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from aiohttp.typedefs import Handler
from gpunode_protocol.signing import WireModel
from gpunode_protocol.tracker_api import Problem

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Schema = Mapping[str, Any]
"""A JSON schema."""

_VARIABLE: Final = re.compile(r"\{(\w+)\}")


class Auth(StrEnum):
    """What a caller has to show."""

    NOTHING = "nothing"
    OPTIONAL = "optional"
    """A key or token is of no need; one that is known names whose budget the request counts on."""
    KEY = "key"
    """An account's API key."""
    WORKER = "worker"
    """The token of a node or a worker."""
    KEY_OR_WORKER = "key or worker"


@dataclass(frozen=True)
class Content:
    """An answer that is no model. media_type: without parameters. schema: of a body, after decoding."""

    media_type: str
    schema: Schema = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True)
class SpecialProblem:
    """A problem that tells more than others do. model: a kind of ``Problem``."""

    model: type[Problem]


Reply = type[WireModel] | Content | SpecialProblem | None
"""What an answer carries; None: no body."""

EVENT_STREAM: Final = Content(
    "text/event-stream",
    {
        "type": "object",
        "description": "One of the server-sent events (HTML Living Standard, 9.2) that follow each other.",
        "properties": {
            "event": {"type": "string", "enum": ["queued", "running", "tokens", "progress", "done", "error"]},
            "data": {"type": "string", "contentMediaType": "application/json", "description": "A JSON object."},
        },
        "required": ["event", "data"],
    },
)
HTML: Final = Content("text/html")
PLAIN_TEXT: Final = Content("text/plain")
ANY_FILE: Final = Content("*/*", {})
JSON_OBJECT: Final = Content("application/json", {"type": "object"})


@dataclass(frozen=True)
class Query:
    """One parameter of the query; ``about``: what it does, one sentence."""

    name: str
    schema: Schema
    about: str
    required: bool = False


def number(name: str, about: str, *, highest: int) -> Query:
    """Return a whole number of the query, 0 to ``highest``, as ``bodies.read_number`` reads it."""
    return Query(name, {"type": "integer", "minimum": 0, "maximum": highest}, about)


def limit(what: str, default: int, *, highest: int) -> Query:
    """Return the parameter that says how long a page is, as ``queries.read_limit`` reads it; what: in the plural."""
    schema = {"type": "integer", "minimum": 1, "maximum": highest, "default": default}
    return Query("limit", schema, f"{what} of the page at most.")


def choice(name: str, about: str, kind: type[StrEnum], *, required: bool = False) -> Query:
    """Return a parameter that is one of some names; empty counts as left out."""
    names = [str(value) for value in kind]
    return Query(name, {"type": "string", "enum": names if required else [*names, ""]}, about, required)


def text(
    name: str, about: str, *, pattern: str | None = None, max_chars: int | None = None, required: bool = False
) -> Query:
    """Return a parameter that is text; empty counts as left out."""
    schema: dict[str, Any] = {"type": "string"}
    if required:
        schema["minLength"] = 1
    if pattern is not None:
        schema["pattern"] = pattern if required else f"^$|{pattern}"
    if max_chars is not None:
        schema["maxLength"] = max_chars
    return Query(name, schema, about, required)


@dataclass(frozen=True)
class Route:
    """One method of one path. Its summary is the handler's docstring: ``METHOD /path: what it does``.

    Args:
        method: HTTP's. GET serves HEAD too, unless it changes something.
        path: variables in braces; what each may be stands in ``openapi.parameters``.
        handler: answers.
        reply: what a success carries.
        status: of a success.
        also: other successes, and problems of a special kind, by status.
        body: what the request has to carry as JSON; None = nothing.
        auth: what the caller has to show.
        query: parameters of the query. Others are overlooked.
        headers: names of request headers that matter here, see ``openapi.parameters``.
        reply_headers: names of headers of answers beside those that follow from the status, likewise, by status.
        problems: error statuses beside those that follow from the rest, see ``problem_statuses``.
        is_safe: whether a GET changes nothing (RFC 9110, 9.2.1).
    """

    method: Method
    path: str
    handler: Handler
    _: KW_ONLY
    reply: Reply
    status: int = 200
    also: Mapping[int, Reply] = field(default_factory=dict)
    body: type[WireModel] | None = None
    auth: Auth = Auth.NOTHING
    query: tuple[Query, ...] = ()
    headers: tuple[str, ...] = ()
    reply_headers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[int, ...] = ()
    is_safe: bool = True

    @property
    def variables(self) -> tuple[str, ...]:
        """Names in the path."""
        return tuple(_VARIABLE.findall(self.path))

    @property
    def replies(self) -> dict[int, Reply]:
        """All answers that are described here and not by their status alone."""
        return {self.status: self.reply, **self.also}

    @property
    def problem_statuses(self) -> tuple[int, ...]:
        """All statuses with a problem body.

        Everything can have too long a head, be too much, fail unforeseen, or find the database closed. A body can be
        no JSON, come too slowly, be too large or hold wrong values. Keys can be unknown, or not good for this.
        """
        found = {400, 429, 500, 503, *self.problems}
        if self.body is not None:
            found |= {408, 413, 422}
        if self.query:
            found.add(422)
        if self.auth not in {Auth.NOTHING, Auth.OPTIONAL}:
            found |= {401, 403}
        return tuple(sorted(found))

"""Parameters of a query that name one of a few things."""

from enum import StrEnum
from typing import TypeVar

from aiohttp import web

from gpunode_tracker.errors import InvalidRequest

E = TypeVar("E", bound=StrEnum)


def read_choice(request: web.Request, name: str, kind: type[E]) -> E | None:
    """Return a parameter of the query, None if it is left out or empty.

    Raises:
        InvalidRequest: it is none of the things of its kind.
    """
    text = request.query.get(name)
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidRequest(f"There is no {name} {text[:32]!r}; it is one of {', '.join(kind)}.") from error

"""Parts of a URL: names, texts, ids, and how long a page is (``bodies.read_number`` reads other numbers)."""

import re
from enum import StrEnum
from typing import Final, TypeVar

from aiohttp import web
from gpunode_protocol.jobs_api import MAX_PAGE

from gpunode_tracker.bodies import read_number
from gpunode_tracker.errors import InvalidRequest, NotFound

DEFAULT_PAGE: Final = 50
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
E = TypeVar("E", bound=StrEnum)


def read_choice(request: web.Request, name: str, kind: type[E]) -> E | None:
    """Return one of some names; None: not given.

    Raises:
        InvalidRequest: another name; the message lists the right ones.
    """
    text = request.query.get(name)
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as error:
        raise InvalidRequest(f"There is no such {name}; it is one of {', '.join(kind)}.") from error


def read_text(request: web.Request, name: str, *, max_chars: int) -> str | None:
    """Return a text; None: not given, or empty.

    Raises:
        InvalidRequest: it is longer, or holds control characters.
    """
    text = request.query.get(name)
    if not text:
        return None
    if len(text) > max_chars or not text.isprintable():
        raise InvalidRequest(f"{name} has at most {max_chars} printable characters.")
    return text


def read_id(request: web.Request, name: str) -> str:
    """Return an id that is a part of the path.

    Raises:
        NotFound: nothing here has an id that looks like this.
    """
    text = request.match_info[name]
    if not _ID.fullmatch(text):
        raise NotFound(f"There is no such {name}: its id has letters, digits and hyphens.")
    return text


def read_limit(request: web.Request, default: int = DEFAULT_PAGE, *, highest: int = MAX_PAGE) -> int:
    """Return how many items a page may have: ``limit``, 1 to ``highest``; without it, ``default``.

    Raises:
        InvalidRequest: it is no such number.
    """
    return read_number(request, "limit", default, highest=highest, least=1)

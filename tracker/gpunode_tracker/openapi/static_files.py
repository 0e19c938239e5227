"""Files that never change while the process runs: packed once, and sent again only to who does not have them."""

import gzip
import hashlib
from dataclasses import dataclass
from typing import Final

from aiohttp import web

_PACKED: Final = "gzip"


@dataclass(frozen=True)
class StaticFile:
    """A file to be served. etag: quoted, strong, of the bytes as they are."""

    content_type: str
    body: bytes
    packed: bytes
    etag: str

    @classmethod
    def of(cls, body: bytes, content_type: str) -> "StaticFile":
        """Return a file with its packed form. content_type: with charset where it has one."""
        digest = hashlib.sha256(body).hexdigest()[:32]
        return cls(content_type, body, gzip.compress(body, mtime=0), f'"{digest}"')


def file_reply(request: web.Request, file: StaticFile, *, max_age_s: int, **headers: str) -> web.Response:
    """Return a file, packed for who takes that; 304 for who has it.

    Args:
        max_age_s: seconds for which caches need not ask again.
        headers: others, with underscores for dashes.
    """
    takes_packed = _PACKED in request.headers.get("Accept-Encoding", "").lower()
    known = {
        "Cache-Control": f"public, max-age={max_age_s}",
        "ETag": _etag(file, packed=takes_packed),
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    if known["ETag"] in _held(request):
        return web.Response(status=304, headers=known)
    known["Content-Type"] = file.content_type
    if takes_packed:
        known["Content-Encoding"] = _PACKED
    return web.Response(body=file.packed if takes_packed else file.body, headers=known)


def _etag(file: StaticFile, *, packed: bool) -> str:
    """Return another tag for the packed form: its bytes are others (RFC 9110, 8.8.3.3)."""
    return f'{file.etag[:-1]}-{_PACKED}"' if packed else file.etag


def _held(request: web.Request) -> set[str]:
    given = request.headers.getall("If-None-Match", ())
    return {tag.strip().removeprefix("W/") for value in given for tag in value.split(",")}

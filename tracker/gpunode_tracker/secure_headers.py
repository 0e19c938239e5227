"""Headers that keep browsers and caches from doing what nobody wants, on every answer."""

from typing import Final

from aiohttp import web

from gpunode_tracker.app_keys import GUARD
from gpunode_tracker.auth import WORKER_TOKEN_HEADER
from gpunode_tracker.client_addresses import SCHEME_HEADER

HSTS: Final = "max-age=31536000"
"""For a year, browsers that came by https come by https only (RFC 6797)."""


async def add_secure_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Take types as stated, keep https, and keep answers to keys and tokens out of caches.

    Called before the head is sent, of streams too; what a handler set itself stays.
    """
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if "Authorization" in request.headers or WORKER_TOKEN_HEADER in request.headers:
        headers.setdefault("Cache-Control", "no-store")
    if _is_https(request):
        headers.setdefault("Strict-Transport-Security", HSTS)


def _is_https(request: web.Request) -> bool:
    if request.secure:
        return True
    schemes = request.headers.getall(SCHEME_HEADER, ())
    return bool(schemes) and request.app[GUARD].came_over_tls(request.remote, schemes)

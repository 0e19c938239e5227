"""Headers of every answer: its id, how much more may be asked for, and what keeps browsers and caches from mischief."""

from typing import Final

from aiohttp import hdrs, web
from multidict import istr

from gpunode_tracker.app_keys import CALL, GUARD
from gpunode_tracker.auth import WORKER_TOKEN_HEADER
from gpunode_tracker.client_addresses import SCHEME_HEADER
from gpunode_tracker.quotas import set_quota_headers
from gpunode_tracker.request_ids import REQUEST_ID_HEADER

HSTS: Final = "max-age=31536000"
"""For a year, browsers that came by https come by https only (RFC 6797)."""
_CONTENT_TYPE_OPTIONS: Final = istr("X-Content-Type-Options")
_HSTS: Final = istr("Strict-Transport-Security")


async def add_reply_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Tell of request and budgets; take types as stated, keep https, keep answers to keys and tokens out of caches.

    Called before the head is sent, of streams too; what a handler set of the latter itself stays.
    """
    headers, asked = response.headers, request.headers
    try:
        call = request[CALL]
    except KeyError:  # a handler without the front around it, which the tracker has none of
        pass
    else:
        headers[REQUEST_ID_HEADER] = call.id
        set_quota_headers(headers, call.charges)
    headers.setdefault(_CONTENT_TYPE_OPTIONS, "nosniff")
    if hdrs.AUTHORIZATION in asked or WORKER_TOKEN_HEADER in asked:
        headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    if _is_https(request):
        headers.setdefault(_HSTS, HSTS)


def _is_https(request: web.Request) -> bool:
    if request.secure:
        return True
    schemes = request.headers.getall(SCHEME_HEADER, ())
    return bool(schemes) and request.app[GUARD].came_over_tls(request.remote, schemes)

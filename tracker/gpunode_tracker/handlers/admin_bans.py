"""Administration of bans."""

from aiohttp import web
from gpunode_protocol.admin_api import MAX_SUBJECT_CHARS, BanOrder, BansPage

from gpunode_tracker.admin_access import admin_of
from gpunode_tracker.admin_views import ban_view
from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.bans import BanKind
from gpunode_tracker.bodies import read_body, reply
from gpunode_tracker.errors import InvalidRequest
from gpunode_tracker.queries import read_choice, read_limit, read_text

MAX_CURSOR_CHARS = MAX_SUBJECT_CHARS + 20


async def get_bans(request: web.Request) -> web.Response:
    """GET /api/v1/admin/bans?cursor=&limit=: the bans in force."""
    admin = await admin_of(request)
    limit = read_limit(request)
    kind, _, subject = (read_text(request, "cursor", max_chars=MAX_CURSOR_CHARS) or "").partition(":")
    found = await admin.bans.page((kind, subject), limit=limit + 1)
    page = tuple(ban_view(ban) for ban in found[:limit])
    cursor = f"{page[-1].kind}:{page[-1].subject}" if len(found) > limit else None
    return reply(BansPage(bans=page, next_cursor=cursor), no_store=True)


async def post_ban(request: web.Request) -> web.Response:
    """POST /api/v1/admin/bans: shut an account, an address or network, a worker or a node out."""
    admin = await admin_of(request)
    body = await read_body(request, BanOrder)
    ban = await admin.bans.place(BanKind(body.kind), body.subject, body.reason, until=body.until)
    await _take_effect(request)
    return reply(ban_view(ban), status=201, no_store=True)


async def delete_ban(request: web.Request) -> web.Response:
    """DELETE /api/v1/admin/bans?kind=&subject=: let somebody in again."""
    admin = await admin_of(request)
    kind = read_choice(request, "kind", BanKind)
    subject = read_text(request, "subject", max_chars=MAX_SUBJECT_CHARS)
    if kind is None or subject is None:
        raise InvalidRequest("Name the ban by kind and subject, as GET /api/v1/admin/bans lists it.")
    await admin.bans.lift(kind, subject)
    await _take_effect(request)
    return web.Response(status=204)


async def _take_effect(request: web.Request) -> None:
    """Let this process know at once; the others look every few seconds."""
    await request.app[TRACKER].refresh_bans()

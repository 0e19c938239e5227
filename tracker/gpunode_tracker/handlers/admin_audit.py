"""The audit log, for administration."""

from aiohttp import web
from gpunode_protocol.admin_api import AuditPage
from gpunode_protocol.validation import MAX_INT64

from gpunode_tracker.admin_access import admin_of
from gpunode_tracker.admin_views import audit_view
from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.bodies import read_number, reply
from gpunode_tracker.queries import read_limit, read_text
from gpunode_tracker.storage.audit import AuditFilter, newest_records

MAX_FILTER_CHARS = 250


async def get_audit(request: web.Request) -> web.Response:
    """GET /api/v1/admin/audit?actor=&action=&subject=&since=&until=&cursor=&limit=: who did what, newest first."""
    await admin_of(request)
    limit = read_limit(request)
    before = read_number(request, "cursor", MAX_INT64, highest=MAX_INT64)
    wanted = AuditFilter(
        actor=read_text(request, "actor", max_chars=MAX_FILTER_CHARS),
        action=read_text(request, "action", max_chars=MAX_FILTER_CHARS),
        subject=read_text(request, "subject", max_chars=MAX_FILTER_CHARS),
        since=read_number(request, "since", 0, highest=MAX_INT64),
        until=read_number(request, "until", MAX_INT64, highest=MAX_INT64),
    )
    async with request.app[TRACKER].database.read() as connection:
        found = await newest_records(connection, wanted, before_id=before, limit=limit + 1)
    page = tuple(audit_view(record) for record in found[:limit])
    cursor = str(page[-1].id) if len(found) > limit else None
    return reply(AuditPage(entries=page, next_cursor=cursor), no_store=True)

"""Complaints of clients about nodes."""

from aiohttp import web
from gpunode_protocol.tracker_api import ReportRequest

from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.auth import account_of
from gpunode_tracker.bodies import read_body
from gpunode_tracker.storage.reports import add_report


async def post_report(request: web.Request) -> web.Response:
    """POST /api/v1/reports: kept for the operator."""
    tracker = request.app[TRACKER]
    account = await account_of(request)
    report = await read_body(request, ReportRequest)
    async with tracker.database.write() as connection:
        await add_report(connection, account.id, report, received_at=tracker.now)
    return web.Response(status=204)

"""Grants: permission to spend, for an account's API key."""

from aiohttp import web
from gpunode_protocol.tracker_api import GrantRequest

from gpunode_tracker import granting
from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.auth import account_of
from gpunode_tracker.bodies import read_body, reply


async def post_grant(request: web.Request) -> web.Response:
    """POST /api/v1/grants: reserve credits; 402 when there are not enough."""
    tracker = request.app[TRACKER]
    account = await account_of(request)
    body = await read_body(request, GrantRequest)
    granted = await granting.issue(tracker.database, tracker.keys, tracker.prices, account, body, now=tracker.now)
    tracker.metrics.grants.inc()
    tracker.wake_sequencer.set()
    return reply(granted, status=201, no_store=True)

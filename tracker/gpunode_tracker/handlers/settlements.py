"""Settlements: vouchers and receipts in batches. Their signatures are all the authority that is needed."""

from aiohttp import web
from gpunode_protocol.tracker_api import SettlementBatch, SettlementReply

from gpunode_tracker.app_keys import GUARD, TRACKER
from gpunode_tracker.auth import sender_of
from gpunode_tracker.bodies import read_body, reply
from gpunode_tracker.quotas import charge_items, charge_settlement


async def post_settlements(request: web.Request) -> web.Response:
    """POST /api/v1/settlements: one answer an item, in order; sending again is safe."""
    tracker = request.app[TRACKER]
    sender = await sender_of(request)
    await charge_settlement(request, sender)
    batch = await read_body(request, SettlementBatch, max_bytes=request.app[GUARD].limits.settlement_body_bytes)
    await charge_items(request, sender, len(batch.items))
    return reply(SettlementReply(results=tuple(await tracker.settle(batch.items))))

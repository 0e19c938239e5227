"""Settlements: vouchers and receipts in batches. Their signatures are all the authority that is needed."""

from aiohttp import web
from gpunode_protocol.tracker_api import SettlementBatch, SettlementReply

from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.bodies import read_body, reply

MAX_BATCH_BYTES = 8 * 1024 * 1024
"""1,000 items of a voucher and a receipt have about 3 MB in base64."""


async def post_settlements(request: web.Request) -> web.Response:
    """POST /api/v1/settlements: one answer an item, in order; sending again is safe."""
    tracker = request.app[TRACKER]
    batch = await read_body(request, SettlementBatch, max_bytes=MAX_BATCH_BYTES)
    results = await tracker.settling.settle(batch.items)
    tracker.wake_sequencer.set()
    for result in results:
        tracker.metrics.settlements.labels(result.status).inc()
        tracker.metrics.paid_microcredits.inc(result.paid_microcredits)
    return reply(SettlementReply(results=tuple(results)))

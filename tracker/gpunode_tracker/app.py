"""The HTTP application around an open tracker."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from gpunode_tracker.app_keys import GUARD, STOPPING, TRACKER
from gpunode_tracker.middleware import MIDDLEWARES
from gpunode_tracker.rate_buckets import MemoryRateBuckets
from gpunode_tracker.request_guard import RequestGuard
from gpunode_tracker.routes import ROUTES
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.upkeep import Upkeep
from gpunode_tracker.webhooks.delivery import Deliverer
from gpunode_tracker.webhooks.sender import WebhookSender


def create_app(
    tracker: Tracker,
    monotonic: Callable[[], float] = time.monotonic,
    *,
    open_deliverer: Callable[[], AbstractAsyncContextManager[Deliverer]] = Deliverer.open,
) -> web.Application:
    """Return the application; it runs the tracker's upkeep while it serves, and closes the tracker at the end.

    monotonic: seconds, for rates. open_deliverer: opens what sends webhooks.
    """
    app = web.Application(middlewares=MIDDLEWARES)
    app[TRACKER] = tracker
    settings = tracker.settings
    buckets = tracker.replica.rate_buckets(MemoryRateBuckets(monotonic))
    app[GUARD] = RequestGuard(settings.limits, settings.proxy_networks, buckets)
    app.add_routes([route.definition for route in ROUTES])
    app[STOPPING] = asyncio.Event()
    app.on_shutdown.append(_stop_waiting)
    app.cleanup_ctx.append(_run_upkeep)
    app.cleanup_ctx.append(_share)
    app.cleanup_ctx.append(_webhooks_by(open_deliverer))
    return app


async def _stop_waiting(app: web.Application) -> None:
    app[STOPPING].set()
    app[TRACKER].workers.waiting.close()


async def _run_upkeep(app: web.Application) -> AsyncIterator[None]:
    upkeep = Upkeep(app[TRACKER])
    upkeep.start()
    yield
    await upkeep.stop()
    await app[TRACKER].close()


async def _share(app: web.Application) -> AsyncIterator[None]:
    replica = app[TRACKER].replica
    await replica.start(app[TRACKER])
    yield
    await replica.stop()


def _webhooks_by(
    open_deliverer: Callable[[], AbstractAsyncContextManager[Deliverer]],
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def run(app: web.Application) -> AsyncIterator[None]:
        tracker = app[TRACKER]
        async with open_deliverer() as deliverer:
            sender = WebhookSender(
                tracker.database, tracker.sealer, tracker.metrics, tracker.clock, deliverer, tracker.wake_webhooks
            )
            sending = asyncio.create_task(sender.run())
            yield
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    return run

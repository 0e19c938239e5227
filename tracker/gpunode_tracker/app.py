"""The HTTP application around an open tracker."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import cache

from aiohttp import web
from aiohttp.typedefs import Handler

from gpunode_tracker.app_keys import (
    GUARD,
    KEY_HOLDERS,
    NO_ROUTE,
    NODES_BY_TOKEN,
    OPENAPI,
    STOPPING,
    TRACKER,
)
from gpunode_tracker.front import Front
from gpunode_tracker.lookup_cache import LookupCache
from gpunode_tracker.nowhere import add_nowhere, refuse
from gpunode_tracker.openapi.aiohttp_routes import aiohttp_routes, go_on
from gpunode_tracker.openapi.document import openapi_document
from gpunode_tracker.openapi.route import Route
from gpunode_tracker.openapi.static_files import StaticFile
from gpunode_tracker.quotas import ADDRESS_BUDGETS
from gpunode_tracker.rate_buckets import MemoryRateBuckets
from gpunode_tracker.reply_headers import add_reply_headers
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

    monotonic: seconds, for rates and for what is remembered. open_deliverer: opens what sends webhooks.
    """
    app = web.Application()
    app[TRACKER] = tracker
    settings = tracker.settings
    buckets = tracker.replica.rate_buckets(MemoryRateBuckets(monotonic))
    guard = app[GUARD] = RequestGuard(settings.limits, settings.proxy_networks, buckets)
    app[OPENAPI] = _openapi()
    _serve(app, Front(tracker, guard))
    app[STOPPING] = asyncio.Event()
    app.on_shutdown.append(_stop_waiting)
    app[KEY_HOLDERS] = LookupCache(monotonic, lambda holder: holder.key.id)
    app[NODES_BY_TOKEN] = LookupCache(monotonic, lambda node: node.peer)
    app.on_response_prepare.append(add_reply_headers)
    app.cleanup_ctx.append(_run_upkeep)
    app.cleanup_ctx.append(_share)
    app.cleanup_ctx.append(_webhooks_by(open_deliverer))
    return app


def _serve(app: web.Application, front: Front) -> None:
    """Put the front before all routes, and before what none of them serves."""

    def handler_of(route: Route) -> Handler:
        return front.around(route.path, route.handler, ADDRESS_BUDGETS.get((route.method, route.path)))

    app.add_routes(aiohttp_routes(ROUTES, handler_of))
    add_nowhere(app.router, front.around(NO_ROUTE, refuse), go_on)


@cache
def _openapi() -> StaticFile:
    """Return the document; it is made once in a process."""
    text = json.dumps(openapi_document(ROUTES), ensure_ascii=False, separators=(",", ":"))
    return StaticFile.of(text.encode(), "application/json")


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

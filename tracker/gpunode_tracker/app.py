"""The HTTP application around an open tracker."""

import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from gpunode_tracker.app_keys import GUARD, KEY_HOLDERS, NODES_BY_TOKEN, TRACKER
from gpunode_tracker.lookup_cache import LookupCache
from gpunode_tracker.middleware import MIDDLEWARES
from gpunode_tracker.rate_buckets import MemoryRateBuckets
from gpunode_tracker.request_guard import RequestGuard
from gpunode_tracker.routes import ROUTES
from gpunode_tracker.secure_headers import add_secure_headers
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.upkeep import Upkeep


def create_app(tracker: Tracker, monotonic: Callable[[], float] = time.monotonic) -> web.Application:
    """Return the application; it runs the tracker's upkeep while it serves, and closes the tracker at the end.

    monotonic: seconds, for rates and for what is remembered.
    """
    app = web.Application(middlewares=MIDDLEWARES)
    app[TRACKER] = tracker
    settings = tracker.settings
    app[GUARD] = RequestGuard(settings.limits, settings.proxy_networks, MemoryRateBuckets(monotonic))
    app[KEY_HOLDERS] = LookupCache(monotonic, lambda holder: holder.key.id)
    app[NODES_BY_TOKEN] = LookupCache(monotonic, lambda node: node.peer)
    app.on_response_prepare.append(add_secure_headers)
    app.add_routes(ROUTES)
    app.cleanup_ctx.append(_run_upkeep)
    return app


async def _run_upkeep(app: web.Application) -> AsyncIterator[None]:
    upkeep = Upkeep(app[TRACKER])
    upkeep.start()
    yield
    await upkeep.stop()
    await app[TRACKER].close()

"""The HTTP application around an open tracker."""

import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from gpunode_tracker.app_keys import GUARD, TRACKER
from gpunode_tracker.middleware import MIDDLEWARES
from gpunode_tracker.rate_buckets import MemoryRateBuckets
from gpunode_tracker.request_guard import RequestGuard
from gpunode_tracker.routes import ROUTES
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.upkeep import Upkeep


def create_app(tracker: Tracker, monotonic: Callable[[], float] = time.monotonic) -> web.Application:
    """Return the application; it runs the tracker's upkeep while it serves, and closes the tracker at the end.

    monotonic: seconds, for rates.
    """
    app = web.Application(middlewares=MIDDLEWARES)
    app[TRACKER] = tracker
    settings = tracker.settings
    buckets = tracker.replica.rate_buckets(MemoryRateBuckets(monotonic))
    app[GUARD] = RequestGuard(settings.limits, settings.proxy_networks, buckets)
    app.add_routes(ROUTES)
    app.on_shutdown.append(_end_long_polls)
    app.cleanup_ctx.append(_run_upkeep)
    app.cleanup_ctx.append(_share)
    return app


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


async def _end_long_polls(app: web.Application) -> None:
    """Answer who waits for a job, so that nobody has to be waited for."""
    app[TRACKER].workers.waiting.close()

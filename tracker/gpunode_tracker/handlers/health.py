"""For those who watch the tracker."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.storage.prices import newest_prices


async def get_health(_request: web.Request) -> web.Response:
    """GET /healthz: the process answers."""
    return web.json_response({"status": "ok"})


async def get_ready(request: web.Request) -> web.Response:
    """GET /readyz: the database answers (503 if not); says how mesh and Redis are, without which HTTP goes on."""
    tracker = request.app[TRACKER]
    async with tracker.database.read() as connection:
        await newest_prices(connection)
    mesh = tracker.mesh
    return web.json_response(
        {
            "status": "ready",
            "mesh": str(mesh.state) if mesh else "off",
            "mesh_problem": mesh.problem if mesh else "",
            "redis": tracker.replica.redis_state,
            "redis_problem": tracker.replica.redis_problem,
            "ledger_size": tracker.sequencer.size,
        }
    )


async def get_metrics(request: web.Request) -> web.Response:
    """GET /metrics: for Prometheus."""
    return web.Response(body=request.app[TRACKER].metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

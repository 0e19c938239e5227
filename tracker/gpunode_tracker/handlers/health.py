"""For those who watch the tracker."""

from typing import Literal

from aiohttp import web
from gpunode_protocol.signing import WireModel
from gpunode_protocol.validation import Count
from prometheus_client import CONTENT_TYPE_LATEST

from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.bodies import reply
from gpunode_tracker.storage.prices import newest_prices


class Health(WireModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(WireModel):
    """The database answers.

    mesh: state of the mesh peer, or off. mesh_problem: why it is not as it should be, empty if it is. redis: off, up or
    away. redis_problem: likewise. ledger_size: entries in the log.
    """

    status: Literal["ready"] = "ready"
    mesh: str
    mesh_problem: str
    redis: Literal["off", "up", "away"]
    redis_problem: str
    ledger_size: Count


async def get_health(_request: web.Request) -> web.Response:
    """GET /healthz: the process answers."""
    return reply(Health())


async def get_ready(request: web.Request) -> web.Response:
    """GET /readyz: the database answers (503 if not); says how mesh and Redis are, without which HTTP goes on."""
    tracker = request.app[TRACKER]
    async with tracker.database.read() as connection:
        await newest_prices(connection)
    mesh = tracker.mesh
    return reply(
        Readiness(
            mesh=str(mesh.state) if mesh else "off",
            mesh_problem=mesh.problem if mesh else "",
            redis=tracker.replica.redis_state,
            redis_problem=tracker.replica.redis_problem,
            ledger_size=tracker.sequencer.size,
        )
    )


async def get_metrics(request: web.Request) -> web.Response:
    """GET /metrics: for Prometheus."""
    return web.Response(body=request.app[TRACKER].metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

"""Administration of prices."""

from aiohttp import web
from gpunode_protocol.admin_api import PriceOrder, PricesPage
from gpunode_protocol.validation import MAX_INT64

from gpunode_tracker.admin_access import admin_of
from gpunode_tracker.admin_views import unit_price
from gpunode_tracker.app_keys import TRACKER
from gpunode_tracker.bodies import read_body, read_number, reply
from gpunode_tracker.queries import read_limit


async def get_prices(request: web.Request) -> web.Response:
    """GET /api/v1/admin/prices: the table in force."""
    await admin_of(request)
    return reply(request.app[TRACKER].prices, no_store=True)


async def get_history(request: web.Request) -> web.Response:
    """GET /api/v1/admin/prices/history?cursor=&limit=: all tables, newest first."""
    admin = await admin_of(request)
    limit = read_limit(request)
    before = read_number(request, "cursor", MAX_INT64, highest=MAX_INT64)
    found = await admin.prices.history(before_version=before, limit=limit + 1)
    page = tuple(found[:limit])
    cursor = str(page[-1].version) if len(found) > limit else None
    return reply(PricesPage(prices=page, next_cursor=cursor), no_store=True)


async def post_prices(request: web.Request) -> web.Response:
    """POST /api/v1/admin/prices: a new table; 409 when another one was published meanwhile."""
    admin = await admin_of(request)
    body = await read_body(request, PriceOrder)
    tasks = {str(task): unit_price(given) for task, given in body.tasks.items()}
    models = {name: unit_price(given) for name, given in body.models.items()}
    table = await admin.prices.publish(tasks, models, replaces=body.replaces)
    await request.app[TRACKER].refresh_prices()
    return reply(table, status=201, no_store=True)

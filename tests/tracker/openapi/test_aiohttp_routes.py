"""aiohttp serves what the table says."""

from operator import attrgetter

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from gpunode_tracker.openapi.aiohttp_routes import aiohttp_routes
from gpunode_tracker.openapi.route import Route
from gpunode_tracker.routes import ROUTES


async def _handler(request: web.Request) -> web.Response:
    resource = request.match_info.route.resource
    assert resource is not None
    return web.json_response({"path": resource.canonical, **request.match_info})


TABLE = [
    Route("POST", "/things/new", _handler, reply=None),
    Route("GET", "/things/{thing}", _handler, reply=None),
    Route("DELETE", "/things/{thing}", _handler, reply=None),
    Route("GET", "/things/{thing}/parts", _handler, reply=None),
    Route("GET", "/other/{thing}", _handler, reply=None),
    Route("GET", "/taken/{thing}", _handler, reply=None, is_safe=False),
]


@pytest.fixture
def app() -> web.Application:
    """The table, served."""
    served = web.Application()
    served.add_routes(aiohttp_routes(TABLE, attrgetter("handler")))
    return served


def test_every_route_is_served(app: web.Application) -> None:
    """Under its path as it is written; a GET that changes nothing serves HEAD too, as aiohttp's own do."""
    served = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    assert served == {(route.method, route.path) for route in TABLE} | {
        ("HEAD", route.path) for route in TABLE if route.method == "GET" and route.is_safe
    }


def test_the_tracker_s_paths_stay_as_they_are() -> None:
    """Budgets and counters know them by name."""
    app = web.Application()
    app.add_routes(aiohttp_routes(ROUTES, attrgetter("handler")))
    assert {resource.canonical for resource in app.router.resources()} == {route.path for route in ROUTES}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/things/a", {"path": "/things/{thing}", "thing": "a"}),
        ("/things/newer", {"path": "/things/{thing}", "thing": "newer"}),
        ("/things/renew/parts", {"path": "/things/{thing}/parts", "thing": "renew"}),
        ("/things/%C3%BC%20b", {"path": "/things/{thing}", "thing": "ü b"}),
        ("/other/new", {"path": "/other/{thing}", "thing": "new"}),
    ],
)
async def test_variables_take_what_stands_there(app: web.Application, path: str, found: dict[str, str]) -> None:
    """Anything but what another path has in the same place."""
    async with TestClient(TestServer(app)) as http:
        assert await (await http.get(path)).json() == found


async def test_a_name_is_never_taken_for_a_variable(app: web.Application) -> None:
    """By no method: who asks gets to know which one there is."""
    async with TestClient(TestServer(app)) as http:
        for method in ("GET", "DELETE", "PUT"):
            answer = await http.request(method, "/things/new")
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert (await http.get("/things/new/parts")).status == 404
        assert (await http.put("/things/a")).headers["Allow"] == "DELETE,GET,HEAD"

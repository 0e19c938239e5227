"""The URL table serves every path of the shared protocol."""

import pytest
from gpunode_protocol import admin_api, tracker_api
from gpunode_tracker.openapi.parameters import VARIABLES
from gpunode_tracker.openapi.route import Auth, Route
from gpunode_tracker.routes import ROUTES

from tests.tracker.conftest import World


def test_every_path_of_the_protocol_is_served() -> None:
    """No path that clients and nodes know is missing here."""
    modules = (tracker_api, admin_api)
    known = {value for module in modules for name, value in vars(module).items() if name.endswith("_PATH")}
    assert known - {route.path for route in ROUTES} == set()


def test_no_route_twice() -> None:
    """Method and path are unique."""
    pairs = [(route.method, route.path) for route in ROUTES]
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_route_asks_for_what_it_says(route: Route, world: World) -> None:
    """401 without what has to be shown, or with the other kind of it; never where nothing has to be."""
    path = route.path.format_map({name: VARIABLES[name].example for name in route.variables})
    key, token = {"Authorization": "Bearer gpn_none"}, {"X-Worker-Token": "gpw_none"}
    wrong = {Auth.KEY: [{}, token, key], Auth.WORKER: [{}, key, token], Auth.KEY_OR_WORKER: [{}, key, token]}
    for headers in wrong.get(route.auth, []):
        answer = await world.http.request(route.method, path, headers=headers, data=b"{}")
        assert answer.status == 401, headers
    if route.auth not in wrong:
        for headers in ({}, key, token):
            assert (await world.http.request(route.method, path, headers=headers, data=b"{}")).status != 401

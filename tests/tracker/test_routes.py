"""The URL table serves every path of the shared protocol."""

from gpunode_protocol import admin_api, tracker_api
from gpunode_tracker.routes import ROUTES


def test_every_path_of_the_protocol_is_served() -> None:
    """No path that clients and nodes know is missing here."""
    modules = (tracker_api, admin_api)
    known = {value for module in modules for name, value in vars(module).items() if name.endswith("_PATH")}
    assert known - {route.path for route in ROUTES} == set()


def test_no_route_twice() -> None:
    """Method and path are unique."""
    pairs = [(route.method, route.path) for route in ROUTES]
    assert len(pairs) == len(set(pairs))

"""What administration's part of the URL table asks for."""

import pytest
from gpunode_tracker.admin_routes import ADMIN_ROUTES
from gpunode_tracker.openapi.route import Auth, Route
from gpunode_tracker.scopes import Scope, scope_of


@pytest.mark.parametrize("route", ADMIN_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_needs_a_key_of_the_right_scope(route: Route) -> None:
    """Administration for administrators, an account's own keys for the account."""
    expected = Scope.ADMIN if route.path.startswith("/api/v1/admin/") else Scope.ACCOUNT
    assert (route.auth, scope_of(route.path)) == (Auth.KEY, expected)

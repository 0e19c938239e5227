"""What keys are good for."""

from typing import get_args

import pytest
from gpunode_protocol import admin_api, jobs_api
from gpunode_protocol import tracker_api as api
from gpunode_tracker.routes import ROUTES
from gpunode_tracker.scopes import DEFAULT_SCOPES, Scope, in_order, read_scopes, scope_of


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        (jobs_api.JOBS_PATH, Scope.JOBS),
        (jobs_api.SYNC_JOB_PATH, Scope.JOBS),
        (jobs_api.JOB_EVENTS_PATH, Scope.JOBS),
        (jobs_api.WORKERS_PATH, Scope.JOBS),
        ("/v1/chat/completions", Scope.JOBS),
        (api.GRANTS_PATH, Scope.GRANTS),
        (api.REPORTS_PATH, Scope.GRANTS),
        (api.BALANCE_PATH, Scope.LEDGER),
        (api.RECEIPT_PATH, Scope.LEDGER),
        (api.NODE_BALANCE_PATH, Scope.LEDGER),
        (api.LINK_PATH, Scope.ACCOUNT),
        (api.OWN_NODES_PATH, Scope.ACCOUNT),
        (admin_api.KEYS_PATH, Scope.ACCOUNT),
        (admin_api.KEY_ROTATION_PATH, Scope.ACCOUNT),
        (admin_api.ADMIN_AUDIT_PATH, Scope.ADMIN),
        (admin_api.ADMIN_KEY_PATH, Scope.ADMIN),
    ],
)
def test_each_path_needs_one_scope(path: str, scope: Scope) -> None:
    """Whether a call spends, reads, manages or administers."""
    assert scope_of(path) is scope


@pytest.mark.parametrize("path", ["", "/api/v1/jobsX", "/api/v1/new", "/secret"])
def test_a_path_that_nobody_thought_of_is_closed(path: str) -> None:
    """A name that only begins alike is another one."""
    assert scope_of(path) is Scope.ADMIN


def test_everything_below_admin_needs_admin() -> None:
    """And nothing else of the URL table does but what has no key at all."""
    below = {route.path for route in ROUTES if route.path.startswith(admin_api.ADMIN)}
    assert len(below) >= 10
    assert {scope_of(path) for path in below} == {Scope.ADMIN}


def test_names_are_those_of_the_protocol() -> None:
    """Bodies can name each scope."""
    assert get_args(admin_api.ScopeName) == tuple(Scope)


def test_stored_names() -> None:
    """None are all but administration; names that a newer tracker stored count for nothing."""
    assert read_scopes(None) == DEFAULT_SCOPES == set(Scope) - {Scope.ADMIN}
    assert read_scopes(["admin", "telepathy"]) == {Scope.ADMIN}
    assert read_scopes([]) == frozenset()
    assert in_order({Scope.ADMIN, Scope.JOBS}) == (Scope.JOBS, Scope.ADMIN)

"""Every field of every body at its limits: taken there, or refused for another cause; refused beyond."""

import json

import pytest
from gpunode_tracker.openapi.route import Route
from gpunode_tracker.routes import ROUTES
from pydantic import ValidationError

from tests.tracker.openapi.field_limits import Case, cases_of
from tests.tracker.openapi.test_hostile_requests import Hostile, hostile  # noqa: F401 -- a fixture

WITH_BODY = [route for route in ROUTES if route.body is not None]


REFUSED = {400, 413, 422}
SIGNED = {
    route.path
    for route in WITH_BODY
    if route.path.endswith(("/nodes/register", "/link", "/grants", "/settlements", "/reports", "/bans", "/prices"))
}
"""Bodies that are right only with somebody's signature, or with names of what there is."""


def _blames(route: Route, case: Case) -> bool:
    """Return whether the body's model finds fault with the case's field for its size."""
    assert route.body is not None
    try:
        route.body.model_validate_json(json.dumps(case.body))
    except ValidationError as error:
        names = [str(name) for name in case.trail]
        kinds = ("too_", "string_too", "string_pattern", "less_than", "greater_than")
        return any(
            [str(name) for name in found["loc"]][-len(names) :] == names and found["type"].startswith(kinds)
            for found in error.errors()
        )
    return False


@pytest.mark.parametrize("route", WITH_BODY, ids=lambda route: f"{route.method} {route.path}")
async def test_every_field_at_its_limits(hostile: Hostile, route: Route) -> None:  # noqa: F811 -- the fixture
    """One step beyond is refused in the documented form; at the limit, nothing is said against the field."""
    cases, taken = cases_of(route), 0
    for case in cases:
        answer = await hostile.send(route, json=case.body)
        told = f"{case.trail} {case.keyword} {case.is_beyond}: {answer.status} {(await answer.text())[:300]}"
        if case.is_beyond:
            assert answer.status in REFUSED, told
            assert case.trail[0] != "params" or _field(case) in told.partition(": ")[2], told
        else:
            assert not _blames(route, case), told
            taken += answer.status not in REFUSED
    assert taken or not cases or route.path in SIGNED, "no body was taken: none was refused for its one field"


def _field(case: Case) -> str:
    return next(str(name) for name in reversed(case.trail) if isinstance(name, str))


def test_limits_are_found() -> None:
    """Of fields at the top, in lists, and in the parameters of every type."""
    found = {(route.path, *case.trail, case.keyword) for route in WITH_BODY for case in cases_of(route)}
    assert len(found) > 150
    assert ("/api/v1/jobs", "priority", "maximum") in found
    assert ("/api/v1/jobs", "params", "max_tokens", "minimum") in found
    assert ("/api/v1/jobs", "params", "n", "maximum") in found
    assert ("/api/v1/workers/register", "models", "maxItems") in found
    assert ("/api/v1/workers/register", "models", 0, "maxLength") in found

"""Around every request."""

import pytest
from gpunode_protocol import tracker_api as api
from gpunode_tracker.middleware import REQUEST_ID_HEADER

from tests.tracker.conftest import World


async def test_request_ids(world: World) -> None:
    """A sound id of the caller comes back, another is replaced."""
    sent = await world.http.get(api.HEALTH_PATH, headers={REQUEST_ID_HEADER: "abc-1"})
    assert sent.headers[REQUEST_ID_HEADER] == "abc-1"
    bad = await world.http.get(api.HEALTH_PATH, headers={REQUEST_ID_HEADER: "a b" * 50})
    assert len(bad.headers[REQUEST_ID_HEADER]) == 16


async def test_unforeseen_errors(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 without details; the log has them under the request's id."""

    def fail(*_args: object) -> None:
        raise ValueError("secret")

    monkeypatch.setattr(world.tracker.index, "regions", fail)
    response = await world.get(api.REGIONS_PATH)
    problem = api.Problem.model_validate_json(await response.text())
    assert (response.status, problem.code) == (500, "internal")
    assert "secret" not in problem.detail
    assert response.headers[REQUEST_ID_HEADER] in problem.detail
    assert "secret" in caplog.text


async def test_aiohttps_own_refusals(world: World) -> None:
    """Unknown paths and wrong methods are problems too."""
    missing = await world.get("/api/v1/nothing")
    assert (missing.status, missing.content_type) == (404, "application/problem+json")
    wrong = await world.http.delete(api.NETWORK_PATH)
    assert (wrong.status, wrong.content_type) == (405, "application/problem+json")
    assert "GET" in wrong.headers["Allow"]

"""Health, readiness and metrics."""

import pytest
from gpunode_protocol import tracker_api as api
from gpunode_tracker.errors import StorageUnavailable

from tests.tracker.conftest import World


async def test_alive_and_ready(world: World) -> None:
    """Both answer without a key; readiness tells of the mesh."""
    assert await (await world.get(api.HEALTH_PATH)).json() == {"status": "ok"}
    ready = await (await world.get(api.READY_PATH)).json()
    assert (ready["status"], ready["mesh"]) == ("ready", "off")


async def test_not_ready_without_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness fails with the database, liveness does not."""

    def fail() -> None:
        raise StorageUnavailable(retry_after_s=7)

    monkeypatch.setattr(world.tracker.database, "read", fail)
    response = await world.get(api.READY_PATH)
    assert (response.status, response.headers["Retry-After"]) == (503, "7")
    assert (await world.get(api.HEALTH_PATH)).status == 200


async def test_metrics_count_routes(world: World) -> None:
    """Requests are counted by route, so that made-up paths cannot fill the memory."""
    await world.get("/made/up")
    await world.get(api.RECEIPT_PATH.format(receipt="x"))
    text = await (await world.get("/metrics")).text()
    assert 'path="other",status="404"' in text
    assert 'path="/api/v1/ledger/receipts/{receipt}",status="401"' in text
    assert "made" not in text

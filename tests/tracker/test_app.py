"""The application's life."""

from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol import tracker_api as api
from gpunode_tracker.app import create_app
from gpunode_tracker.tracker import Tracker


async def test_the_application_closes_its_tracker(tracker: Tracker) -> None:
    """It serves while it runs; at its end upkeep has stopped and the database is closed."""
    async with TestClient(TestServer(create_app(tracker))) as http:
        assert (await http.get(api.HEALTH_PATH)).status == 200
    assert not tracker.database._engine.pool.checkedin()  # type: ignore[attr-defined]  # -- queue pools have it

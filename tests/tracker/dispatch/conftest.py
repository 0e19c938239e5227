"""Fixtures of the tests of dispatch."""

import pytest
from gpunode_tracker.dispatch import dispatcher
from gpunode_tracker.tracker import Tracker

from tests.tracker.dispatch.mesh_world import MeshWorld


@pytest.fixture
async def mesh(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> MeshWorld:
    """A tracker, its account and a mesh without nodes. A dispatcher that stops waits for no job."""
    monkeypatch.setattr(dispatcher, "STOP_PATIENCE_S", 0.0)
    world = MeshWorld(tracker)
    await world.open()
    return world

"""The client by which the tracker reaches nodes."""

import pytest
from gpunode._placing import Demand
from gpunode_protocol.tasks import Task

from tests.sdk.memory_mesh import MemoryMesh
from tests.tracker.dispatch.mesh_world import MeshWorld


async def test_it_signs_with_the_tracker_s_dispatch_key(mesh: MeshWorld) -> None:
    """Nodes take requests only from the peer that signed them, so its peer on the mesh has the same key."""
    async with mesh.session() as session:
        ready = await session.ready()
        assert ready.mesh.peer_id == ready.services.signer.identity.peer_id == mesh.tracker.dispatch.peer_id
        assert isinstance(ready.mesh, MemoryMesh)
        assert ready.mesh.config.client_mode
        assert (mesh.tracker.settings.data_dir / "dispatch" / "mesh").is_dir()


async def test_the_operator_s_own_settings_are_not_the_tracker_s(
    mesh: MeshWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that has variables for the client's commands may start a tracker."""
    monkeypatch.setenv("GPUNODE_REGION", "africa")
    monkeypatch.setenv("GPUNODE_MAX_PRICE_CREDITS", "0")
    await mesh.add_node()
    async with mesh.session() as session:
        assert len(await session.choices(Demand(Task.LLM))) == 1
        assert session.config.region is None

"""Joining the mesh, reachable or not."""

from pathlib import Path

from gpunode_node.mesh_membership import after_joining, join_mesh, wait_for_peers
from gpunode_protocol.mesh import MeshConfig, MeshState, MeshStatus, MeshStream

from tests.node.fake_mesh import FakeMesh


async def _serve(stream: MeshStream) -> None:
    await stream.close()


async def _join(reachable: bool | None, tmp_path: Path) -> list[FakeMesh]:
    meshes: list[FakeMesh] = []

    def create(config: MeshConfig) -> FakeMesh:
        meshes.append(FakeMesh(config, reachable=reachable))
        return meshes[-1]

    membership = await join_mesh(create, MeshConfig(identity_path=tmp_path / "key"), {"/gpunode/1/job": _serve})
    assert membership.mesh is meshes[-1]
    assert membership.reachability.reachable is reachable
    return meshes


async def test_reachable(tmp_path: Path) -> None:
    """A node that others can reach is a full member, and serves before it is looked at."""
    (mesh,) = await _join(True, tmp_path)
    assert mesh.running
    assert set(mesh.handlers) == {"/gpunode/1/job"}


async def test_nobody_answers(tmp_path: Path) -> None:
    """The first node of a network cannot know, and is a full member."""
    (mesh,) = await _join(None, tmp_path)
    assert mesh.config is not None
    assert not mesh.config.client_mode


async def test_behind_a_nat(tmp_path: Path) -> None:
    """A hidden node starts again as a client behind relays: as a server it would make keys unreachable."""
    first, second = await _join(False, tmp_path)
    assert not first.running
    assert second.running
    assert second.config is not None
    assert second.config.client_mode
    assert second.config.use_auto_relay
    assert set(second.handlers) == {"/gpunode/1/job"}


async def test_a_mesh_that_cannot_ask(tmp_path: Path) -> None:
    """A failed check is no reason to hide."""
    mesh = FakeMesh()

    async def broken() -> None:
        mesh.broken = True

    mesh.start = broken  # type: ignore[method-assign]  # -- p2pd dies at once
    membership = await join_mesh(lambda _: mesh, MeshConfig(identity_path=tmp_path / "key"), {})
    assert membership.reachability.reachable is None


class _LonelyMesh(FakeMesh):
    """Joins when somebody waits for it the third time."""

    waits = 0

    @property
    def status(self) -> MeshStatus:
        """See ``Mesh``."""
        return MeshStatus(state=MeshState.JOINED if self.waits >= 3 else MeshState.DEGRADED)

    async def wait_joined(self, timeout_s: float) -> bool:
        """See ``Mesh``."""
        assert timeout_s > 0
        self.waits += 1
        return self.status.state is MeshState.JOINED


async def test_a_mesh_that_joins_later(tmp_path: Path) -> None:
    """Then what was announced alone is announced again; a mesh that had joined from the start needs nothing."""
    called: list[int] = []
    lonely = _LonelyMesh(MeshConfig(identity_path=tmp_path / "key"))
    await after_joining(lonely, lambda: called.append(lonely.waits))
    assert called == [3]
    await after_joining(lonely, lambda: called.append(0))
    assert called == [3]


class _Alone(FakeMesh):
    """Knows nobody."""

    waited_s = 0.0

    @property
    def status(self) -> MeshStatus:
        return MeshStatus(state=MeshState.DEGRADED)

    async def wait_joined(self, timeout_s: float) -> bool:
        self.waited_s += timeout_s
        return False


async def test_waiting_for_peers() -> None:
    """A mesh that knows some is not waited for, whatever else its problem is."""
    await wait_for_peers(FakeMesh(), 0.0)
    alone = _Alone()
    await wait_for_peers(alone, 5.0)
    assert alone.waited_s == 5.0

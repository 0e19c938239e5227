import asyncio

from gpunode_protocol.mesh import MeshUnavailable
from gpunode_tracker.dispatch.join_ahead import JOIN_AFTER_S, JoinAhead

from tests.node.virtual_time import virtual_time


class _Mesh:
    """Counts who joins, and when; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.joined_at: list[float] = []
        self._failures = failures
        self._began_at = asyncio.get_running_loop().time()

    async def join(self) -> None:
        """Join."""
        self.joined_at.append(asyncio.get_running_loop().time() - self._began_at)
        if len(self.joined_at) <= self._failures:
            raise MeshUnavailable


@virtual_time
async def test_the_mesh_is_joined_once_a_while_after_the_first_node_came() -> None:
    """However many come."""
    mesh = _Mesh()
    ahead = JoinAhead(mesh.join)
    for _ in range(3):
        ahead.node_came()
        await asyncio.sleep(JOIN_AFTER_S)
    assert mesh.joined_at == [JOIN_AFTER_S]
    await ahead.close()


@virtual_time
async def test_a_failure_is_tried_again_with_the_next_node() -> None:
    """The mesh may have been away."""
    mesh = _Mesh(failures=1)
    ahead = JoinAhead(mesh.join)
    ahead.node_came()
    await asyncio.sleep(JOIN_AFTER_S + 1)
    ahead.node_came()
    await asyncio.sleep(JOIN_AFTER_S + 1)
    assert len(mesh.joined_at) == 2


@virtual_time
async def test_whoever_closes_it_before_joins_nothing() -> None:
    """Without nodes, neither."""
    mesh = _Mesh()
    ahead = JoinAhead(mesh.join)
    await ahead.close()
    ahead.node_came()
    await ahead.close()
    await asyncio.sleep(JOIN_AFTER_S + 1)
    assert mesh.joined_at == []

"""A real p2pd with an identity that a test knows, for a node's streams that run inside the test."""

from contextlib import AsyncExitStack
from pathlib import Path

from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh._hivemind import HivemindMesh

from tests.protocol.mesh.conftest import start_mesh


async def mesh_of(stack: AsyncExitStack, folder: Path, identity: Identity, *bootstrap: str) -> HivemindMesh:
    """Start a mesh that ends with ``stack``: a server, or with ``bootstrap`` a client of that; over TCP only."""
    folder.mkdir()
    key = folder / "identity.key"
    key.touch(mode=0o600)
    key.write_bytes(identity.to_libp2p())
    return await start_mesh(stack, folder, quic=False, bootstrap=bootstrap, client_mode=bool(bootstrap))

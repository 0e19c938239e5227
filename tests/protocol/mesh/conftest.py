"""One small network of real p2pd processes on loopback, shared by the tests that do not break it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex

import pytest
import pytest_asyncio
from gpunode_protocol.mesh import MeshConfig
from gpunode_protocol.mesh._hivemind import HivemindMesh
from gpunode_protocol.mesh._hivemind_api import PeerID
from gpunode_protocol.mesh._hivemind_link import Link
from gpunode_protocol.mesh.multiaddrs import is_quic
from gpunode_protocol.mesh.rate_limit import PeerBench

from tests.protocol.mesh.plain_records import PlainValidator

MeshFactory = Callable[..., Awaitable[HivemindMesh]]

_GREET_TIMEOUT_S = 10.0


def fresh(name: str) -> str:
    """Return a key or protocol that was never used: a test that is run once more must not meet what it left."""
    return f"{name}/{token_hex(4)}"


def mesh_config(folder: Path, **changes: object) -> MeshConfig:
    """Return a configuration whose files lie in ``folder``."""
    folder.mkdir(exist_ok=True)
    config = MeshConfig(identity_path=folder / "identity.key", state_dir=folder, rejoin_interval_s=0.5)
    return replace(config, **changes)  # type: ignore[arg-type]  # -- field names are checked at run time


def link_of(mesh: HivemindMesh) -> Link:
    """Return the link of a running mesh."""
    assert mesh._keeper is not None
    assert mesh._keeper.link is not None
    return mesh._keeper.link


async def tcp_address(mesh: HivemindMesh) -> str:
    """Return a mesh's TCP multiaddr."""
    return next(address for address in await mesh.addresses() if not is_quic(address))


@dataclass(frozen=True, slots=True)
class Network:
    """A bootstrap peer, two more servers and a client."""

    bootstrap: HivemindMesh
    alice: HivemindMesh
    bob: HivemindMesh
    client: HivemindMesh

    @property
    def servers(self) -> tuple[HivemindMesh, ...]:
        """Everyone who stores records."""
        return self.bootstrap, self.alice, self.bob


async def start_mesh(stack: AsyncExitStack, folder: Path, **changes: object) -> HivemindMesh:
    """Start a mesh that ends with ``stack``."""
    mesh = HivemindMesh(mesh_config(folder, **changes), PlainValidator())
    stack.push_async_callback(mesh.stop)
    await mesh.start()
    return mesh


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    """See ``network``."""
    folder = tmp_path_factory.mktemp("mesh")
    async with AsyncExitStack() as stack:
        bootstrap = await start_mesh(stack, folder / "bootstrap")
        peers = (await tcp_address(bootstrap),)
        alice = await start_mesh(stack, folder / "alice", bootstrap=peers)
        bob = await start_mesh(stack, folder / "bob", bootstrap=peers, quic=False)
        client = await start_mesh(stack, folder / "client", bootstrap=peers, client_mode=True)
        yield Network(bootstrap, alice, bob, client)


@pytest_asyncio.fixture(loop_scope="session")
async def network(shared_network: Network) -> Network:
    """The shared network; use fresh keys and protocols, and leave its members alive.

    Who failed in the test before, or was flooded in it, is asked again as if nothing had been; and whoever was given up
    meanwhile (one call that a busy machine answers late is enough) is known again.
    """
    for mesh in (*shared_network.servers, shared_network.client):
        link_of(mesh).protocol.bench = PeerBench()
        for server in shared_network.servers:
            if server is not mesh:
                await _make_known(mesh, server)
    return shared_network


async def _make_known(mesh: HivemindMesh, server: HivemindMesh) -> None:
    link, peer = link_of(mesh), PeerID.from_base58(server.peer_id)
    if peer not in link.protocol.routing_table:
        address = (await tcp_address(server)).partition("/p2p/")[0]  # p2pd takes transports only
        await link.p2p.dial(peer, [address], _GREET_TIMEOUT_S)
        assert await link.protocol.greet(peer) is not None


@pytest_asyncio.fixture(loop_scope="session")
async def make_mesh(tmp_path: Path) -> AsyncIterator[MeshFactory]:
    """A function that starts a mesh which ends with the test; takes a name and changed settings."""
    async with AsyncExitStack() as stack:

        async def make(name: str, **changes: object) -> HivemindMesh:
            return await start_mesh(stack, tmp_path / name, **changes)

        yield make

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest
from gpunode_protocol.mesh import MeshState, MeshStream, MeshUnavailable, PortInUse, _hivemind
from gpunode_protocol.mesh._hivemind import HivemindMesh
from gpunode_protocol.mesh._hivemind_keeper import LinkKeeper
from gpunode_protocol.mesh._hivemind_link import Link
from gpunode_protocol.mesh.errors import StreamDropped

from tests.protocol.mesh.conftest import MeshFactory, Network, fresh, link_of, tcp_address
from tests.protocol.mesh.plain_records import plain_record

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def echo(stream: MeshStream) -> None:
    """Send back what comes."""
    while data := await stream.read():
        await stream.write(data)


def keeper_of(mesh: HivemindMesh) -> LinkKeeper:
    """Return the keeper of a running mesh."""
    assert mesh._keeper is not None
    return mesh._keeper


async def kill_p2pd(mesh: HivemindMesh) -> None:
    """Kill -9, and wait until the mesh has noticed."""
    link = link_of(mesh)
    os.kill(link.daemon.pid, signal.SIGKILL)
    await link.daemon.wait()


def delete_folder(mesh: HivemindMesh, folder: Path) -> None:
    """Delete its folder with p2pd's sockets, which lie elsewhere if the path is long."""
    assert mesh._runtime_dir is not None
    shutil.rmtree(mesh._runtime_dir.path)
    shutil.rmtree(folder)


async def test_mesh_survives_the_death_of_its_p2pd(network: Network, make_mesh: MeshFactory) -> None:
    """Streams end, and then identity, addresses, handlers and DHT are there again, by themselves."""
    bootstrap = (await tcp_address(network.bootstrap),)
    node = await make_mesh("node", bootstrap=bootstrap, client_mode=True)
    await node.serve("/test/echo", echo)
    addresses = await node.addresses()
    outgoing = await node.open_stream(network.bob.peer_id, "/gpunode/1/dialback")
    incoming = await network.alice.open_stream(node.peer_id, "/test/echo", addresses)
    await incoming.write(b"before")
    assert await incoming.read() == b"before"

    await kill_p2pd(node)
    async with asyncio.timeout(15):
        assert await outgoing.read() == b""
        assert await node.wait_joined(15)
        assert await node.addresses() == addresses
        assert await node.announce(plain_record(node.peer_id, "risen")) == len(network.servers)
        stream = await network.alice.open_stream(node.peer_id, "/test/echo", addresses)
        await stream.write(b"after")
        assert await stream.read() == b"after"
        # over QUIC, the other side notices when it sends: the risen daemon resets what it does not know
        assert await incoming.read() == b""
    for each in (outgoing, incoming, stream):
        each.abort()
    assert node.status.restarts == 1


async def test_it_joins_again_at_once(
    network: Network, make_mesh: MeshFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next regular look at the membership may be far away."""
    node = await make_mesh("hasty", bootstrap=(await tcp_address(network.bootstrap),), rejoin_interval_s=600.0)
    monkeypatch.setattr(_hivemind, "IMPATIENT_REJOIN_S", 600.0)
    links: asyncio.Queue[Link] = asyncio.Queue()

    async def refresh(link: Link) -> None:
        links.put_nowait(link)

    await kill_p2pd(node)
    monkeypatch.setattr(node._membership, "refresh", refresh)
    async with asyncio.timeout(15):
        assert await links.get() is link_of(node)


async def test_stored_records_outlive_p2pd(make_mesh: MeshFactory) -> None:
    """What a server keeps for others is in this process, not in the daemon."""
    server = await make_mesh("server")
    await server.announce(plain_record(server.peer_id, "kept"))
    await kill_p2pd(server)
    assert len((await server.find("kept")).records) == 1


async def test_restart_is_announced_in_the_status(make_mesh: MeshFactory) -> None:
    """While p2pd is away, the mesh is degraded and says so; calls wait for the next link."""
    server = await make_mesh("server")
    await kill_p2pd(server)
    while keeper_of(server).link is not None:  # noqa: ASYNC110 -- one turn of the loop
        await asyncio.sleep(0)
    assert server.status.state is MeshState.DEGRADED
    assert "p2pd" in server.status.problem
    assert await server.addresses()
    assert server.status.state is MeshState.JOINED


async def test_p2pd_that_dies_again_and_again_is_started_again(make_mesh: MeshFactory) -> None:
    """Every death is counted, and the mesh comes back each time."""
    server = await make_mesh("server")
    for deaths in (1, 2):
        await kill_p2pd(server)
        async with asyncio.timeout(15):
            while server.status.restarts < deaths:  # noqa: ASYNC110 -- the supervisor is about to notice
                await asyncio.sleep(0)
            assert await server.addresses()
    assert server.status.restarts == 2


async def test_port_taken_meanwhile_falls_back_to_another(make_mesh: MeshFactory) -> None:
    """If p2pd cannot have its old port, it comes back on a new one rather than not at all."""
    server = await make_mesh("server", quic=False)
    keeper = keeper_of(server)
    port = int((await tcp_address(server)).split("/")[4])
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", port, reuse_port=True)
    async with taken:
        keeper._listen = (f"/ip4/192.0.2.1/tcp/{port}",)  # an address that this machine does not have
        await kill_p2pd(server)
        async with asyncio.timeout(20):
            while server.status.restarts < 1:  # noqa: ASYNC110 -- the supervisor is about to notice
                await asyncio.sleep(0)
            assert await keeper.current(15)
    assert (await tcp_address(server)).startswith("/ip4/127.0.0.1/tcp/")


async def test_two_do_not_share_a_port_unnoticed(make_mesh: MeshFactory) -> None:
    """p2pd itself would bind a port that another p2pd has; the first start refuses it."""
    first = await make_mesh("first", quic=False)
    address = (await tcp_address(first)).partition("/p2p/")[0]
    with pytest.raises(PortInUse):
        await make_mesh("second", quic=False, listen_addresses=(address,))


async def test_waiting_for_a_link_has_a_deadline(make_mesh: MeshFactory) -> None:
    """A mesh without p2pd raises instead of hanging."""
    server = await make_mesh("server")
    keeper = keeper_of(server)
    await keeper.stop()
    with pytest.raises(MeshUnavailable):
        await keeper.current(0.01)


async def test_a_client_whose_state_folder_is_deleted_goes_on(
    network: Network, make_mesh: MeshFactory, tmp_path: Path
) -> None:
    """Its p2pd's sockets and its key lay there: p2pd is started again with the same key, and the folder stays away."""
    bootstrap = (await tcp_address(network.bootstrap),)
    client = await make_mesh("deleted", bootstrap=bootstrap, client_mode=True)
    delete_folder(client, tmp_path / "deleted")
    async with asyncio.timeout(15):
        addresses = await network.bob.addresses()
        stream = await client.open_stream(network.bob.peer_id, "/gpunode/1/dialback", addresses)
        assert await client.wait_joined(15)
        assert (await client.find(fresh("nobody's"))).replicas_answered
    stream.abort()
    assert client.status.restarts == 1
    assert not (tmp_path / "deleted" / "identity.key").exists()


async def test_who_serves_streams_is_not_restarted_for_its_folder(make_mesh: MeshFactory, tmp_path: Path) -> None:
    """Jobs run over them; what becomes of a node whose folder is gone is for the node to say."""
    server = await make_mesh("serving")
    delete_folder(server, tmp_path / "serving")
    with pytest.raises(StreamDropped):
        await server.addresses()
    assert server.status.restarts == 0

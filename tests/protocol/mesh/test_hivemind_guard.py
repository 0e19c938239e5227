"""The guard over a running p2pd's memory."""

import asyncio
import os

import pytest
from gpunode_protocol.mesh import MeshStream, memory_alarm
from gpunode_protocol.mesh._hivemind_api import PeerID
from gpunode_protocol.mesh._hivemind_guard import memory_of
from gpunode_protocol.mesh.config import MEBIBYTE

from tests.protocol.mesh.conftest import MeshFactory, link_of, tcp_address

pytestmark = pytest.mark.asyncio(loop_scope="session")

KAD = "/ipfs/kad/1.0.0"
FOUR_MIB = b"\xf0\xff\xff\x01"
"""A length of nearly 4 MiB in libp2p's DHT: allocated at once (unsigned varint)."""


async def echo(stream: MeshStream) -> None:
    """Send back what comes."""
    while data := await stream.read():
        await stream.write(data)


async def test_announced_lengths_do_not_end_p2pd(make_mesh: MeshFactory) -> None:
    """A flooder that announces gigabytes loses its connection; an honest stream over another one goes on."""
    server = await make_mesh("server", quic=False)
    bootstrap = (await tcp_address(server),)
    flooder = await make_mesh("flooder", bootstrap=bootstrap, client_mode=True)
    honest = await make_mesh("honest", bootstrap=bootstrap, client_mode=True)
    await server.serve("/test/echo", echo)
    stream = await honest.open_stream(server.peer_id, "/test/echo")
    await stream.write(b"before")
    assert await stream.read() == b"before"
    pid, peer = link_of(server).daemon.pid, PeerID.from_base58(server.peer_id)

    held = []
    for _ in range(200):
        opened = await link_of(flooder).p2p.open(peer, KAD, 10)
        opened[2].write(FOUR_MIB)
        held.append(opened)
    async with asyncio.timeout(20):
        for _, reader, _ in held:
            assert await reader.read() == b""

    await stream.write(b"after")
    assert await stream.read() == b"after"
    await stream.close()
    for _, _, writer in held:
        writer.transport.abort()
    assert (link_of(server).daemon.pid, server.status.restarts) == (pid, 0)


async def test_beyond_the_cap_p2pd_is_started_again(make_mesh: MeshFactory) -> None:
    """It does not go on growing; the mesh goes on with another one."""
    server = await make_mesh("server", p2pd_memory_max_bytes=48 * MEBIBYTE)
    async with asyncio.timeout(20):
        while not server.status.restarts:
            await asyncio.sleep(0)
            await server.wait_joined(0.1)


async def test_own_memory() -> None:
    """Both figures are bytes."""
    memory = memory_of(os.getpid())
    assert memory is not None
    assert all(figure > MEBIBYTE for figure in memory)
    assert memory_alarm.MEBIBYTE == MEBIBYTE


async def test_a_process_that_is_gone() -> None:
    """There is nothing to judge."""
    assert memory_of(2**22 + 1) is None

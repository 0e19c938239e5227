import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from gpunode_protocol.mesh import MeshState, PortInUse
from gpunode_protocol.mesh.dialback import answers_as_libp2p
from gpunode_protocol.mesh.errors import RecordRejected
from gpunode_protocol.mesh.momentary import _RefuseAll, momentary_mesh
from gpunode_protocol.mesh.multiaddrs import first_tcp_port

#: three threads at once, on a machine without hivemind: each is told what is missing
WITHOUT_HIVEMIND = """
import asyncio, sys, threading
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hivemind":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from gpunode_protocol.mesh.momentary import momentary_mesh
async def stay():
    async with momentary_mesh():
        pass
def run():
    try:
        asyncio.run(stay())
    except ModuleNotFoundError as error:
        print(error.name)
threads = [threading.Thread(target=run) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


async def test_it_listens_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with an address of its own, and afterwards an empty folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with momentary_mesh(listen=("/ip4/127.0.0.1/tcp/0",)) as mesh:
        assert mesh.status.state is MeshState.JOINED
        port = first_tcp_port(list(await mesh.addresses()))
        assert port is not None
        assert await answers_as_libp2p("127.0.0.1", port)
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


async def test_it_joins_by_another_peer() -> None:
    """The bootstrap peer is met, which itself does not count the newcomer among the servers."""
    async with (
        momentary_mesh(listen=("/ip4/127.0.0.1/tcp/0",)) as first,
        momentary_mesh(bootstrap=await first.addresses()) as second,
    ):
        assert await second.connected_peers() == (first.peer_id,)


async def test_a_port_that_is_taken() -> None:
    """It is told as for a mesh that stays."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)):
            async with momentary_mesh(listen=(f"/ip4/127.0.0.1/tcp/{port}",)):
                pass


def test_without_hivemind() -> None:
    """Also several at once are told which package is missing."""
    result = subprocess.run([sys.executable, "-c", WITHOUT_HIVEMIND], capture_output=True, text=True, check=True)
    assert result.stdout.count("hivemind") == 3  # threads may print on one line


def test_it_stores_nothing() -> None:
    """Whatever somebody would have it keep."""
    with pytest.raises(RecordRejected):
        _RefuseAll().validate("key", "subkey", b"", 0.0, 0.0)

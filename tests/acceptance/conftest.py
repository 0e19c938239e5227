"""The network that all acceptance tests share, and a client of it."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpunode import InferenceClient

from tests.acceptance.attacker import Attacker
from tests.acceptance.network import Network, status_of
from tests.acceptance.processes import Daemon
from tests.acceptance.raw_peer import RawPeer

LAST_WORDS_CHARS = 4_000


@pytest.fixture(scope="session")
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Start one tracker and three nodes for the whole run; a test that ends one starts it again."""
    # below the system's own folder for such things: a test's folder is too long for Unix sockets
    folder = Path(tempfile.mkdtemp(prefix="gpn-"))
    shared = Network(folder)
    try:
        shared.start()
        yield shared
    finally:
        shared.stop()
        if request.session.testsfailed:
            _show_logs(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _show_logs(folder: Path) -> None:
    """Print the ends of all daemons' logs: their files go with the folder."""
    for path in sorted(folder.glob("*.log")):
        sys.stderr.write(f"\n--- {path.name}\n{path.read_text(errors='replace')[-LAST_WORDS_CHARS:]}")


@pytest.fixture(scope="session")
def client(network: Network) -> Iterator[InferenceClient]:
    """Return a connected client that is used by many tests."""
    with InferenceClient(network.url, api_key=network.api_key, state_dir=network.folder / "client") as connected:
        yield connected


@pytest.fixture(scope="session")
def raw_peer(network: Network) -> Iterator[RawPeer]:
    """Return a peer that speaks the wire protocol by itself."""
    peer = RawPeer(network, network.folder / "raw")
    yield peer
    peer.stop()


@pytest.fixture
def raw(raw_peer: RawPeer) -> Iterator[RawPeer]:
    """Return that peer; what a test opens is closed after it."""
    yield raw_peer
    raw_peer.close_streams()


@pytest.fixture(scope="module")
def asia_goes_on_serving(client: InferenceClient, network: Network) -> Iterator[None]:
    """Whatever a file's tests do to the node in Asia, it serves honest clients afterwards, without a restart."""
    process = network.nodes["asia"].process
    yield
    result = client.chat(messages=[{"role": "user", "content": "Hello"}], region="asia", max_tokens=1)
    assert result.route.node == network.nodes["asia"].run["peer_id"]
    assert status_of(network.nodes["asia"])["pid"] == process.pid
    assert status_of(network.nodes["asia"])["mesh"]["restarts"] == 0


@pytest.fixture(scope="session")
def victim(network: Network) -> Iterator[Daemon]:
    """Return a node for attacks: over TCP only, where the transport limits no streams."""
    node = network.add_node("oceania", "--no-quic", name="victim")
    node.wait_ready()
    yield node
    node.stop()


@pytest.fixture
def attacker(network: Network) -> Iterator[Attacker]:
    """Return a fresh peer that attacks; what it holds ends with the test."""
    # a new identity each time: flooders sit out for a while
    fresh = Attacker(network, Path(tempfile.mkdtemp(prefix="attacker-", dir=network.folder)))
    yield fresh
    fresh.stop()

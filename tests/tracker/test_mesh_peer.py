"""The tracker as bootstrap peer, with a mesh that does what the test says."""

import asyncio
from pathlib import Path

import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh import MeshState, MeshStatus, MeshUnavailable, P2pdFailed, PortInUse
from gpunode_protocol.mesh.advert_records import AdvertValidator
from gpunode_tracker import mesh_peer
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.mesh_peer import MESH_KEY_FILE, MeshPeer, create_mesh_peer
from gpunode_tracker.tracker import Tracker

ADDRESS = "/ip4/127.0.0.1/tcp/1/p2p/x"


class FakeMesh:
    """A mesh whose start fails as often as the test says."""

    def __init__(self, failures: int = 0, error: type[P2pdFailed] = P2pdFailed) -> None:
        self.peer_id = Identity.from_seed(b"m" * 32).peer_id
        self.status = MeshStatus(state=MeshState.JOINED, peers_known=3)
        self.failures = failures
        self.error = error
        self.starts = 0
        self.stopped = False
        self.addresses_known = (ADDRESS,)

    async def start(self) -> None:
        """Start or fail."""
        self.starts += 1
        if self.starts <= self.failures:
            raise self.error

    async def stop(self) -> None:
        """Stop."""
        self.stopped = True

    async def addresses(self) -> tuple[str, ...]:
        """Return addresses, or fail while there are none."""
        if not self.addresses_known:
            raise MeshUnavailable
        return self.addresses_known


def _peer(mesh: FakeMesh, tracker: Tracker) -> MeshPeer:
    return MeshPeer(mesh, AdvertValidator(tracker.keys.trust))  # type: ignore[arg-type]  # -- the part that is used


async def test_addresses_are_known_after_the_start(tracker: Tracker) -> None:
    """They become the network's bootstrap addresses."""
    mesh = FakeMesh()
    tracker.mesh = peer = _peer(mesh, tracker)
    await peer.start(asyncio.Event())
    assert tracker.network_info().bootstrap == (ADDRESS,)
    assert (peer.state, peer.peers_known, peer.problem) == (MeshState.JOINED, 3, "")
    await peer.stop()
    assert mesh.stopped


async def test_a_mesh_that_does_not_start_is_tried_again(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first failure does not keep the tracker from serving; a later success is announced."""
    monkeypatch.setattr(mesh_peer, "START_RETRY_S", 0)
    mesh = FakeMesh(failures=2)
    peer = _peer(mesh, tracker)
    changed = asyncio.Event()
    peer.on_addresses = changed.set
    await peer.start(asyncio.Event())
    async with asyncio.timeout(5):
        await changed.wait()
    assert (mesh.starts, peer.addresses) == (3, (ADDRESS,))
    await peer.stop()


async def test_a_taken_port_ends_the_start(tracker: Tracker) -> None:
    """The operator is told at once, instead of a tracker that nobody finds; stopping works all the same."""
    mesh = FakeMesh(failures=1, error=PortInUse)
    peer = _peer(mesh, tracker)
    with pytest.raises(PortInUse):
        await peer.start(asyncio.Event())
    await peer.stop()
    assert (mesh.starts, mesh.stopped) == (1, True)


async def test_a_signal_during_the_start(tracker: Tracker) -> None:
    """Nobody waits for the mesh when the tracker is to stop."""
    mesh = FakeMesh()
    never = asyncio.Event()
    mesh.start = never.wait  # type: ignore[assignment,method-assign]  # -- a start that hangs
    peer, stop = _peer(mesh, tracker), asyncio.Event()
    stop.set()
    async with asyncio.timeout(5):
        await peer.start(stop)
        await peer.stop()
    assert peer.addresses == ()


async def test_addresses_stay_while_p2pd_restarts(tracker: Tracker) -> None:
    """Its ports stay the same, so nodes may go on using them."""
    mesh = FakeMesh()
    peer = _peer(mesh, tracker)
    await peer.start(asyncio.Event())
    mesh.addresses_known = ()
    await peer._read_addresses()
    assert peer.addresses == (ADDRESS,)
    await peer.stop()


async def test_newer_keys_reach_the_validator(tracker: Tracker) -> None:
    """Records are judged by the newest key set and revocations."""
    peer = _peer(FakeMesh(), tracker)
    tracker.mesh = peer
    await tracker.refresh()
    assert peer._validator.trust is tracker.keys.trust
    assert peer._validator.revocations is tracker.revocations.body


def test_its_key_is_its_own(settings: TrackerSettings, fresh_data_dir: Path) -> None:
    """The mesh identity is a file beside the others, and stays the same."""
    from gpunode_protocol.mesh import load_or_create_identity

    identity = load_or_create_identity(settings.data_dir / MESH_KEY_FILE)
    assert load_or_create_identity(settings.data_dir / MESH_KEY_FILE).peer_id == identity.peer_id
    assert not (fresh_data_dir / MESH_KEY_FILE).exists()
    assert callable(create_mesh_peer)

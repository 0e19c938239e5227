import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from gpunode_protocol.mesh import LOOPBACK_ADDRESSES, MeshConfig, P2pdFailed, PortInUse, _p2pd, load_or_create_identity
from gpunode_protocol.mesh._p2pd import DATA_LIMIT_FACTOR, P2pd, p2pd_flags, p2pd_path, require_free_ports
from gpunode_protocol.mesh.config import MEBIBYTE
from gpunode_protocol.mesh.runtime_dir import RuntimeDir, default_parents

SOCKET = Path("d.sock")
RELAY = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWRelay"


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory with a short path."""
    directory = RuntimeDir.create(default_parents(None))
    yield directory.path
    directory.remove()


@pytest.fixture
def config(tmp_path: Path) -> MeshConfig:
    """A configuration with a key."""
    load_or_create_identity(tmp_path / "identity.key")
    return MeshConfig(identity_path=tmp_path / "identity.key")


async def start(config: MeshConfig, sockets: Path) -> P2pd:
    """Start a daemon."""
    return await P2pd.start(config, control_socket=sockets / "d.sock", listen=config.listen_addresses, timeout_s=20)


def flags(**changes: object) -> list[str]:
    """Return p2pd's flags for changed settings."""
    config = replace(MeshConfig(identity_path=Path("identity.key")), **changes)  # type: ignore[arg-type]  # -- see above
    return p2pd_flags(config, control_socket=SOCKET, listen=config.listen_addresses)


@pytest.mark.parametrize(
    ("kind", "address"),
    [(socket.SOCK_STREAM, "/ip4/{ip}/tcp/{port}"), (socket.SOCK_DGRAM, "/ip4/{ip}/udp/{port}/quic-v1")],
)
@pytest.mark.parametrize("ip", ["127.0.0.1", "0.0.0.0"])
def test_a_port_of_another_program(kind: socket.SocketKind, address: str, ip: str) -> None:
    """It is refused even if its owner would share it, as p2pd does; once it is free it is taken."""
    with socket.socket(socket.AF_INET, kind) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        config = MeshConfig(identity_path=Path("x"), listen_addresses=(address.format(ip=ip, port=port),))
        with pytest.raises(PortInUse, match=f"Port {port} is in use by another program. Stop it, or .*--mesh-port"):
            require_free_ports(config)
    require_free_ports(config)


def test_ports_that_are_not_asked_for() -> None:
    """Port 0 is any port; addresses that this machine lacks are p2pd's to report; without QUIC, UDP is not used."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        quic = f"/ip4/127.0.0.1/udp/{other.getsockname()[1]}/quic-v1"
        others = (*LOOPBACK_ADDRESSES, "/ip4/192.0.2.1/tcp/4001", quic)
        require_free_ports(MeshConfig(identity_path=Path("x"), listen_addresses=others, quic=False))


def test_flags_never_bootstrap() -> None:
    """With -b, p2pd exits when no bootstrap peer answers."""
    assert not [flag for flag in flags(bootstrap=(RELAY,)) if flag.startswith(("-b=", "-bootstrapPeers"))]


def test_flags_without_quic() -> None:
    """quic=False listens by TCP only."""
    assert f"-hostAddrs={','.join(LOOPBACK_ADDRESSES)}" in flags()
    assert f"-hostAddrs={LOOPBACK_ADDRESSES[0]}" in flags(quic=False)
    assert "-noListenAddrs=1" in flags(listen_addresses=())


def test_flags_of_a_home_behind_nat() -> None:
    """The bootstrap peers are the relays unless others are named."""
    given = flags(use_auto_relay=True, relay_discovery=False, bootstrap=(RELAY,), force_reachability="private")
    assert {"-autoRelay=1", "-relayDiscovery=0", f"-trustedRelays={RELAY}", "-forceReachabilityPrivate=1"} <= set(given)
    assert "-relayDiscovery=1" in flags(use_auto_relay=True, relay_discovery=False)  # p2pd panics without any relay


def test_flags_follow_the_role() -> None:
    """Clients are clients of libp2p's own DHT, too; only trackers relay for others."""
    assert {"-dhtServer=1", "-relayService=0"} <= set(flags())
    assert {"-dhtClient=1", "-relayService=1"} <= set(flags(client_mode=True, relay_service=True))
    assert "-announceAddrs=/ip4/192.0.2.1/tcp/1" in flags(announce_addresses=("/ip4/192.0.2.1/tcp/1",))


async def test_memory_is_limited_by_the_kernel(config: MeshConfig, sockets: Path) -> None:
    """The kernel bounds what p2pd allocates, and Go begins to save well below the resident cap."""
    daemon = await start(replace(config, p2pd_memory_max_bytes=256 * MEBIBYTE), sockets)
    process = psutil.Process(daemon.pid)
    assert process.rlimit(psutil.RLIMIT_DATA) == 2 * (DATA_LIMIT_FACTOR * 256 * MEBIBYTE,)
    assert process.environ()["GOMEMLIMIT"] == str(128 * MEBIBYTE)
    await daemon.stop()
    assert not process.is_running()


async def test_too_little_memory_is_an_error_not_a_hang(config: MeshConfig, sockets: Path) -> None:
    """A limit that p2pd cannot live with shows its last words."""
    with pytest.raises(P2pdFailed, match="last words"):
        await start(replace(config, p2pd_memory_max_bytes=MEBIBYTE), sockets)


async def test_unusable_listen_address_is_explained(config: MeshConfig, sockets: Path) -> None:
    """The daemon's own message reaches the user."""
    with pytest.raises(P2pdFailed, match="multiaddr"):
        await start(replace(config, listen_addresses=("/ip4/nonsense/tcp/1",)), sockets)


async def test_missing_daemon_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hivemind, the error names the command that installs it."""
    monkeypatch.setattr(_p2pd.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(P2pdFailed, match="gpunode\\[mesh\\]"):
        p2pd_path()


async def test_exit_is_noticed(config: MeshConfig, sockets: Path) -> None:
    """A killed daemon ends wait() with its signal."""
    daemon = await start(config, sockets)
    os.kill(daemon.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        assert await daemon.wait() == -signal.SIGKILL
    await daemon.stop()


_PARENT = """
import asyncio, sys
from pathlib import Path
from gpunode_protocol.mesh import MeshConfig
from gpunode_protocol.mesh._p2pd import P2pd

async def main():
    config = MeshConfig(identity_path=Path(sys.argv[1]))
    daemon = await P2pd.start(
        config, control_socket=Path(sys.argv[2]) / "d.sock", listen=config.listen_addresses, timeout_s=20
    )
    print(daemon.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_daemon_dies_with_a_killed_parent(config: MeshConfig, sockets: Path) -> None:
    """kill -9 of the parent leaves no p2pd behind, even before it attached."""
    command = [sys.executable, "-c", _PARENT, str(config.identity_path), str(sockets)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        daemon = psutil.Process(int(parent.stdout.readline()))
        assert daemon.is_running()
        parent.kill()
    psutil.wait_procs([daemon], timeout=10)
    assert not daemon.is_running()

"""Settings of the mesh."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MEBIBYTE = 1024 * 1024

LOOPBACK_ADDRESSES = ("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1")
"""Listen addresses for tests and demos; port 0 = any free port."""

PUBLIC_ADDRESSES = ("/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1")
"""Listen addresses that other machines can reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConfig:
    """How this peer takes part in the mesh.

    Args:
        identity_path: key file, made when absent (see ``keyfile``).
        state_dir: existing directory for the known peers and, if its path is short, p2pd's sockets.
        listen_addresses: multiaddrs; none at all = do not listen (clients).
        announce_addresses: multiaddrs that others should use instead of the ones that p2pd sees (port forwarding).
        bootstrap: multiaddrs with ``/p2p/…`` of peers to join by; several are tried at once. None = first peer.
        client_mode: store nothing for others and appear in nobody's routing table: for SDK clients, and for nodes
            behind NAT, which would make keys unreachable.
        quic: False also drops QUIC listen addresses (p2pd's QUIC is of 2023: CVE-2024-22189, memory exhaustion).
        use_auto_relay: become reachable through relays.
        trusted_relays: multiaddrs of relays for ``use_auto_relay``; none = the bootstrap peers.
        relay_discovery: look for more relays than the trusted ones.
        relay_service: relay for others with generous limits (trackers).
        force_reachability: tell p2pd instead of letting it find out.
        nat_port_map: ask the home router to forward the ports (UPnP, NAT-PMP).
        p2pd_memory_max_bytes: p2pd's resident memory; beyond it, it is started again. Well before, connections are
            closed (see ``memory_alarm``). The kernel limits what it allocates to eight times as much.
        startup_timeout_s: seconds for p2pd's start and for the first attempt to join together.
        rejoin_interval_s: seconds between looks at the mesh, and between attempts to join while there is none.
        rpc_timeout_s: seconds for one DHT request.
    """

    identity_path: Path
    state_dir: Path | None = None
    listen_addresses: tuple[str, ...] = LOOPBACK_ADDRESSES
    announce_addresses: tuple[str, ...] = ()
    bootstrap: tuple[str, ...] = ()
    client_mode: bool = False
    quic: bool = True
    use_auto_relay: bool = False
    trusted_relays: tuple[str, ...] = ()
    relay_discovery: bool = True
    relay_service: bool = False
    force_reachability: Literal["public", "private"] | None = None
    nat_port_map: bool = False
    p2pd_memory_max_bytes: int = 512 * MEBIBYTE
    startup_timeout_s: float = 60.0
    rejoin_interval_s: float = 60.0
    rpc_timeout_s: float = 3.0

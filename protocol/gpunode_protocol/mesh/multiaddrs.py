"""The little that is needed of multiaddr texts (https://multiformats.io/multiaddr/) without hivemind."""

import ipaddress
import re
from collections.abc import Iterable, Sequence

from gpunode_protocol.errors import InvalidPeerId
from gpunode_protocol.identity import PeerId, parse_peer_id
from gpunode_protocol.mesh.errors import MeshError

_PORT_ZERO = re.compile(r"/(tcp|udp)/0(?=/|$)")


def split_peer(address: str) -> tuple[str, PeerId]:
    """Split ``/ip4/…/tcp/…/p2p/12D3KooW…`` into the transport address and the peer id.

    Raises:
        MeshError: no peer id at the end.
    """
    transport, marker, peer = address.rpartition("/p2p/")
    try:
        if not marker or not transport.startswith("/"):
            raise InvalidPeerId
        return transport, parse_peer_id(peer)
    except InvalidPeerId as error:
        raise MeshError(
            f"{address!r} is not a peer's address; one looks like /ip4/203.0.113.7/tcp/4001/p2p/12D3KooW…"
        ) from error


def is_relayed(address: str) -> bool:
    """Whether the address leads through a circuit relay."""
    return "/p2p-circuit" in address


def is_quic(address: str) -> bool:
    """Whether the address is for QUIC."""
    return "/quic" in address


def ip_of(address: str) -> str | None:
    """Return the IP address of a direct address, in text form; None for relayed and DNS addresses."""
    parts = address.split("/")
    if is_relayed(address) or len(parts) < 3 or parts[1] not in {"ip4", "ip6"}:
        return None
    try:
        return str(ipaddress.ip_address(parts[2]))
    except ValueError:
        return None


def port_of(address: str, transport: str) -> int | None:
    """Return the port of a direct ``tcp`` or ``udp`` address."""
    parts = address.split("/")
    if is_relayed(address) or len(parts) < 5 or parts[3] != transport or not parts[4].isdecimal():
        return None
    return int(parts[4])


def are_loopback(addresses: Sequence[str]) -> bool:
    """Whether all addresses, at least one, lead to this machine only."""
    ips = [ip_of(address) for address in addresses]
    return bool(ips) and all(ip is not None and ipaddress.ip_address(ip).is_loopback for ip in ips)


def first_tcp_port(addresses: Iterable[str]) -> int | None:
    """Return the TCP port of the first direct TCP address."""
    return next((port for address in addresses if (port := port_of(address, "tcp"))), None)


def pin_ports(listen: Sequence[str], actual: Sequence[str]) -> tuple[str, ...]:
    """Replace port 0 in listen addresses by the ports that the system chose.

    A restarted p2pd must come back where other peers look for it.
    """
    ports = {
        transport: next((port for address in actual if (port := port_of(address, transport))), 0)
        for transport in ("tcp", "udp")
    }
    return tuple(_PORT_ZERO.sub(lambda found: f"/{found[1]}/{ports[found[1]]}", address) for address in listen)


def origin_of(address: str, peer: PeerId) -> str:
    """Return under what the limits of an address count a peer seen at ``address``.

    IPv4: the address; IPv6: the first 64 bits, which one subscriber has; relayed: relay and peer, for a relay carries
    many; otherwise: the peer.
    """
    if is_relayed(address):
        relay = address.split("/p2p-circuit", maxsplit=1)[0].rpartition("/p2p/")[2]
        return f"{relay}/{peer}"
    ip = ip_of(address)
    if ip is None:
        return peer
    network = ipaddress.ip_network(f"{ip}/{64 if ':' in ip else 32}", strict=False)
    return str(network.network_address)

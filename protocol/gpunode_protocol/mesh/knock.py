"""Knocking: plain TCP connections that tell whether the process of a silent peer has ended.

When a process is killed, its system resets TCP connections, and streams over them end at once. QUIC runs over UDP,
where nobody tells. But the same system refuses new TCP connections to a port at which nobody listens any more, and
answers a UDP packet to such a port with ICMP's "port unreachable", which many firewalls drop.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

from gpunode_protocol.mesh.multiaddrs import ip_of, is_quic, is_relayed, port_of

KNOCK_TIMEOUT_S: Final = 1.0
"""A refusal takes one round trip; whoever needs longer has not refused."""
MAX_DOORS: Final = 4
"""A peer listens at one TCP port, seldom at two; more are not tried."""
_MAX_PORT: Final = 65_535

_KNOCK: Final = b"\x00"
"""Too short for a packet of QUIC, which overlooks it."""


class Door(NamedTuple):
    """IP address and port. is_quic: a UDP port, else one of TCP."""

    ip: str
    port: int
    is_quic: bool = False


def doors_of(addresses: Sequence[str], seen_at: str | None = None) -> tuple[Door, ...]:
    """Return where to knock, at most ``MAX_DOORS``; nowhere if it would say nothing.

    With a connection, only a direct one over QUIC needs it, and only at the address that it leads to: a private address
    of an advert is another machine's in another network. If the advert does not name that QUIC port, it is of an
    earlier start of the peer, whose TCP port is closed now: then the QUIC port itself is knocked at. Not so for a peer
    with a relay: its connection may lead through a hole in a router, which answers strangers for itself. Without a
    connection, all addresses count, or the public ones if there are any; but a peer that can also be reached through a
    relay may not be reachable at any of them.

    Args:
        addresses: multiaddrs that the peer advertises.
        seen_at: multiaddr to which there is a connection, None = there is none yet.
    """
    has_relay = any(map(is_relayed, addresses))
    if seen_at is not None:
        doors = _doors_at(seen_at, addresses, has_relay=has_relay)
    else:
        doors = [] if has_relay else _tcp_doors(addresses)
        doors = [door for door in doors if ip_address(door.ip).is_global] or doors
    return tuple(doors[:MAX_DOORS])


def _doors_at(seen_at: str, addresses: Sequence[str], *, has_relay: bool) -> list[Door]:
    """Return where to knock at a peer with a connection."""
    there = _quic_port(seen_at)
    if there is None:
        return []
    if there in map(_quic_port, addresses):
        return [door for door in _tcp_doors(addresses) if door.ip == there.ip]
    return [] if has_relay or there.ip not in map(ip_of, addresses) else [there]


def _quic_port(address: str) -> Door | None:
    """Return the door of a direct QUIC address."""
    ip, port = ip_of(address), port_of(address, "udp")
    return Door(ip, port, is_quic=True) if ip and port and port <= _MAX_PORT and is_quic(address) else None


def _tcp_doors(addresses: Sequence[str]) -> list[Door]:
    doors = ((ip_of(address), port_of(address, "tcp")) for address in addresses)
    return list(dict.fromkeys(Door(ip, port) for ip, port in doors if ip and port and port <= _MAX_PORT))


async def all_refuse(doors: Sequence[Door], *, timeout_s: float = KNOCK_TIMEOUT_S) -> bool:
    """Return whether every door, at least one, refuses a connection or a packet: then nobody listens there.

    Over TCP nothing is sent, and a connection that comes about is closed.

    Args:
        doors: see ``doors_of``.
        timeout_s: seconds, > 0; a door that does not answer has not refused.
    """
    answers = await asyncio.gather(*(_refuses(door, timeout_s) for door in doors))
    return bool(answers) and all(answers)


async def _refuses(door: Door, timeout_s: float) -> bool:
    family = socket.AF_INET6 if ":" in door.ip else socket.AF_INET
    kind = socket.SOCK_DGRAM if door.is_quic else socket.SOCK_STREAM
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            with socket.socket(family, kind) as knocking:
                knocking.setblocking(False)
                await loop.sock_connect(knocking, door[:2])
                if door.is_quic:
                    await loop.sock_sendall(knocking, _KNOCK)
                    await loop.sock_recv(knocking, 1)  # fails if "port unreachable" comes; else there is no answer
    except ConnectionRefusedError:
        return True
    except OSError:  # TimeoutError among them
        return False
    return False

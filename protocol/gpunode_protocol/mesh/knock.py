"""Knocking: plain TCP connections that tell whether the process of a silent peer has ended.

When a process is killed, its system resets TCP connections, and streams over them end at once. QUIC runs over UDP,
where nobody tells. But the same system refuses new TCP connections to a port at which nobody listens any more.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from gpunode_protocol.mesh.multiaddrs import ip_of, is_quic, is_relayed, port_of

KNOCK_TIMEOUT_S: Final = 1.0
"""A refusal takes one round trip; whoever needs longer has not refused."""
MAX_DOORS: Final = 4
"""A peer listens at one TCP port, seldom at two; more are not tried."""
_MAX_PORT: Final = 65_535

Door = tuple[str, int]
"""IP address and TCP port."""


def doors_of(addresses: Sequence[str], seen_at: str | None = None) -> tuple[Door, ...]:
    """Return where to knock, at most ``MAX_DOORS``; nowhere if it would say nothing.

    With a connection, only a direct one over QUIC needs it, and only at the address that it leads to: a private address
    of an advert is another machine's in another network. The advert must name that QUIC port too, or it is of an
    earlier start of the peer, whose TCP port is closed now. Without a connection, all addresses count, or the public
    ones if there are any; but a peer that can also be reached through a relay may not be reachable at any of them.

    Args:
        addresses: multiaddrs that the peer advertises.
        seen_at: multiaddr to which there is a connection, None = there is none yet.
    """
    doors = _tcp_doors(addresses)
    if seen_at is not None:
        there = _quic_port(seen_at)
        is_named = there is not None and there in map(_quic_port, addresses)
        doors = [door for door in doors if is_named and door[0] == ip_of(seen_at)]
    elif any(map(is_relayed, addresses)):
        doors = []
    else:
        doors = [door for door in doors if ip_address(door[0]).is_global] or doors
    return tuple(doors[:MAX_DOORS])


def _quic_port(address: str) -> tuple[str, int] | None:
    """Return IP address and UDP port of a direct QUIC address."""
    ip, port = ip_of(address), port_of(address, "udp")
    return (ip, port) if ip and port and is_quic(address) else None


def _tcp_doors(addresses: Sequence[str]) -> list[Door]:
    doors = ((ip_of(address), port_of(address, "tcp")) for address in addresses)
    return list(dict.fromkeys((ip, port) for ip, port in doors if ip and port and port <= _MAX_PORT))


async def all_refuse(doors: Sequence[Door], *, timeout_s: float = KNOCK_TIMEOUT_S) -> bool:
    """Return whether every door, at least one, refuses a connection: then nobody listens there.

    Nothing is sent; a connection that comes about is closed.

    Args:
        doors: see ``doors_of``.
        timeout_s: seconds, > 0; a door that does not answer has not refused.
    """
    answers = await asyncio.gather(*(_refuses(door, timeout_s) for door in doors))
    return bool(answers) and all(answers)


async def _refuses(door: Door, timeout_s: float) -> bool:
    family = socket.AF_INET6 if ":" in door[0] else socket.AF_INET
    try:
        async with asyncio.timeout(timeout_s):
            with socket.socket(family) as knocking:
                knocking.setblocking(False)
                await asyncio.get_running_loop().sock_connect(knocking, door)
    except ConnectionRefusedError:
        return True
    except OSError:  # TimeoutError among them
        return False
    return False

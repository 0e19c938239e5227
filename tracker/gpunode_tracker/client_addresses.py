"""From which address a request comes, and which addresses count as one client. Pure."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from multidict import istr

FORWARDED_HEADER: Final = istr("X-Forwarded-For")
"""The only header that says who asks. ``Forwarded`` (RFC 7239) is not looked at: a proxy that sets the one lets the
other pass as its client sent it, so believing both would mean to believe the client.
"""
SCHEME_HEADER: Final = istr("X-Forwarded-Proto")
UNKNOWN: Final = "unknown"
IPV6_PREFIX_BITS: Final = 64
"""Whoever has one IPv6 address has all of its /64 (RFC 6177)."""

_REMEMBERED: Final = 8_192
"""Addresses whose meaning is remembered: every request asks several times, and most come from few."""
_WITH_PORT: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):[0-9]{1,5}")
"""Some proxies append the port from which their client came."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> Network:
    """Return an address, or a network such as 10.0.0.0/8, as a network.

    Raises:
        ValueError: neither.
    """
    return ipaddress.ip_network(text.strip())


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address that a request comes from.

    Only what trusted proxies have appended to the header counts: it is read from its end, and what stands before the
    first address that is not a trusted proxy's was made up by whoever has that address, or might have been.

    Args:
        peer: the connection's other end.
        forwarded: the values of all X-Forwarded-For headers, in their order.
        trusted: the proxies'.
    """
    if not forwarded:
        return _own_address(peer or "")
    address = parse_address(peer or "")
    if address is None:
        return UNKNOWN
    hops = [hop for value in forwarded for hop in value.split(",")]
    while hops and _is_within(address, trusted):
        hop = parse_address(_without_port(hops.pop()))
        if hop is None:
            break
        address = hop
    return str(address)


@lru_cache(_REMEMBERED)
def _own_address(peer: str) -> str:
    return str(parse_address(peer) or UNKNOWN)


@lru_cache(_REMEMBERED)
def holder_of(address: str) -> str:
    """Return what is counted for an address: itself for IPv4, its /64 for IPv6."""
    parsed = parse_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(parsed), IPV6_PREFIX_BITS), strict=False))
    return str(parsed or UNKNOWN)


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address belongs to one of the networks."""
    parsed = parse_address(address)
    return parsed is not None and _is_within(parsed, networks)


def is_https(peer: str | None, schemes: Iterable[str], trusted: Sequence[Network]) -> bool:
    """Whether the client spoke TLS with a trusted proxy, by what the proxy said last.

    Args:
        peer: the connection's other end.
        schemes: the values of all X-Forwarded-Proto headers, in their order.
        trusted: the proxies'.
    """
    if not is_within(peer or "", trusted):
        return False
    said = [scheme.strip().lower() for value in schemes for scheme in value.split(",")]
    return said[-1:] == ["https"]


@lru_cache(_REMEMBERED)
def parse_address(text: str) -> Address | None:
    """Return an address, one of IPv4 within IPv6 as the former; None: it is none."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _without_port(hop: str) -> str:
    match = _WITH_PORT.fullmatch(hop.strip())
    return match[1] or match[2] if match else hop

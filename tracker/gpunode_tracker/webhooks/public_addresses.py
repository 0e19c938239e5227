"""Connections to public addresses only: whoever names a webhook must not reach the tracker's own network through it.

A name is looked up once. Each address that comes of it is checked, and exactly these are connected to, so a name that
leads elsewhere a moment later gains nothing. The socket is made only for an address that is checked once more.
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressCheck = Callable[[IpAddress], bool]

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""An IPv4 address in its last 32 bits (RFC 6052): so hosts without IPv4 reach those without IPv6."""
_6TO4: Final = ipaddress.IPv6Network("2002::/16")
_NOT_PUBLIC: Final = (
    ipaddress.ip_network("192.88.99.0/24"),  # relays of 6to4 (RFC 7526)
    ipaddress.ip_network("3fff::/20"),  # for documents (RFC 9637), which Python 3.11 does not know
)


class NotPublic(OSError):
    """A name or address leads to what is not public."""


def is_public(address: IpAddress) -> bool:
    """Whether an address is one unicast address of the internet; those that hold an IPv4 address are what that is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST or address.scope_id is not None:
            return False
    special = address.is_multicast or address.is_reserved or any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not special


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _6TO4:
        return ipaddress.IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    return address.ipv4_mapped


class PublicResolver(AbstractResolver):
    """Asks another resolver, and refuses names of which any address is not public.

    Args:
        inner: looks up.
        check: whether an address is public.
    """

    def __init__(self, inner: AbstractResolver, check: AddressCheck = is_public) -> None:
        self._inner = inner
        self._check = check

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return all addresses of a host.

        Raises:
            NotPublic: one of them is not public. OSError: the look-up failed.
        """
        found = await self._inner.resolve(host, port, family)
        for result in found:
            require_public(result["host"], self._check)
        return found

    async def close(self) -> None:
        """Close the other one."""
        await self._inner.close()


def public_socket(check: AddressCheck = is_public) -> Callable[[tuple[Any, ...]], socket.socket]:
    """Return what makes sockets, from ``(family, type, protocol, name, address)``, for public addresses only."""

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, target = info
        require_public(str(target[0]), check)
        return socket.socket(family, kind, protocol)

    return make


def require_public(text: str, check: AddressCheck = is_public) -> None:
    """Check an address in text form.

    Raises:
        NotPublic: it is not public, or no address.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise NotPublic("not an address") from error
    if not check(address):
        raise NotPublic("not a public address")

"""Which addresses are public, and that only those are reached."""

import ipaddress
import socket

import pytest
from gpunode_tracker.webhooks.public_addresses import (
    NotPublic,
    PublicResolver,
    is_public,
    public_socket,
    require_public,
)

from tests.tracker.webhooks.receiver import FixedResolver


@pytest.mark.parametrize(
    "text",
    [
        "8.8.8.8",
        "1.1.1.1",
        "2001:4860:4860::8888",
        "2a00:1450::1",
        "::ffff:8.8.8.8",  # as some systems write IPv4
        "64:ff9b::8.8.8.8",  # as hosts without IPv4 reach it
        "2002:808:808::1",
    ],
)
def test_addresses_of_the_internet_are_public(text: str) -> None:
    """Those that hold an IPv4 address are what that is."""
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "2a00:1450::1%eth0",
    ],
)
def test_all_others_are_not(text: str) -> None:
    """This machine, local networks, shared, reserved and document addresses, groups, tunnels."""
    assert not is_public(ipaddress.ip_address(text))


async def test_a_name_with_one_address_that_is_not_public_is_refused() -> None:
    """However many good ones stand beside it."""
    resolver = PublicResolver(FixedResolver({"hooks.test": [[("8.8.8.8", 443), ("10.0.0.7", 443)]]}))
    with pytest.raises(NotPublic):
        await resolver.resolve("hooks.test", 443)


async def test_a_name_with_public_addresses_only_is_resolved() -> None:
    """To all of them."""
    inner = FixedResolver({"hooks.test": [[("8.8.8.8", 443), ("2001:4860:4860::8888", 443)]]})
    found = await PublicResolver(inner).resolve("hooks.test", 443)
    assert [result["host"] for result in found] == ["8.8.8.8", "2001:4860:4860::8888"]


async def test_failures_of_the_look_up_pass() -> None:
    """They are no refusal."""
    with pytest.raises(socket.gaierror):
        await PublicResolver(FixedResolver({})).resolve("hooks.test", 443)


async def test_the_resolver_closes_the_other_one() -> None:
    """It has nothing of its own."""
    inner = FixedResolver({})
    await PublicResolver(inner).close()
    assert inner.closed


def test_no_socket_is_made_for_what_is_not_public() -> None:
    """Whoever resolved it."""
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    with pytest.raises(NotPublic):
        public_socket()((*info, ("127.0.0.1", 443)))
    with public_socket()((*info, ("8.8.8.8", 443))) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "10.0.0.1"])
def test_what_is_no_public_address_does_not_pass(text: str) -> None:
    """Names and other ways to write one do not either."""
    with pytest.raises(NotPublic):
        require_public(text)

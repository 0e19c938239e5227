"""From which address a request comes."""

import pytest
from gpunode_tracker.client_addresses import client_address, holder_of, is_https, is_within, parse_network

PROXIES = (parse_network("10.0.0.1"), parse_network("fd00::/64"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        pytest.param("192.0.2.1", ["198.51.100.9"], "192.0.2.1", id="not from a proxy"),
        pytest.param("10.0.0.2", ["198.51.100.9"], "10.0.0.2", id="from a proxy's neighbour"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="the proxy itself"),
        pytest.param("10.0.0.1", ["198.51.100.9"], "198.51.100.9", id="one proxy"),
        pytest.param("10.0.0.1", ["127.0.0.1, 198.51.100.9"], "198.51.100.9", id="a made-up beginning"),
        pytest.param("10.0.0.1", ["127.0.0.1", "198.51.100.9"], "198.51.100.9", id="a header made up"),
        pytest.param("10.0.0.1", ["198.51.100.9, fd00::7"], "198.51.100.9", id="two proxies"),
        pytest.param("10.0.0.1", ["198.51.100.9, nonsense"], "10.0.0.1", id="nonsense"),
        pytest.param("10.0.0.1", [""], "10.0.0.1", id="empty"),
        pytest.param("::ffff:10.0.0.1", ["2001:db8::1"], "2001:db8::1", id="IPv4 within IPv6"),
        pytest.param(None, ["198.51.100.9"], "unknown", id="no peer"),
        pytest.param("10.0.0.1", ["198.51.100.9:51234"], "198.51.100.9", id="with a port"),
        pytest.param("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1", id="IPv6 with a port"),
        pytest.param("10.0.0.1", ["[2001:db8::1]"], "10.0.0.1", id="brackets without a port"),
        pytest.param("10.0.0.1", ["198.51.100.9:"], "10.0.0.1", id="a port without digits"),
        pytest.param("10.0.0.1", ["1.1.1.1", "10.0.0.2", "10.0.0.1"], "10.0.0.2", id="an untrusted hop ends it"),
        pytest.param("10.0.0.1", ["2001:db8::1, fd00::1, fd00::2"], "2001:db8::1", id="a chain of IPv6"),
        pytest.param("fd00::1", ["192.0.2.1"], "192.0.2.1", id="an IPv6 proxy"),
        pytest.param("fd00:0:0:1::1", ["192.0.2.1"], "fd00:0:0:1::1", id="beside its network"),
        pytest.param("10.0.0.1", ["198.51.100.9, 10.0.0.1"], "198.51.100.9", id="through the same proxy twice"),
        pytest.param("10.0.0.1", ["fd00::1"], "fd00::1", id="proxies only"),
        pytest.param("10.0.0.1", ["x" * 2_000], "10.0.0.1", id="long nonsense"),
        pytest.param("10.0.0.1", [",,,,"], "10.0.0.1", id="commas"),
        pytest.param("10.0.0.1", ["1.2.3.4\x00"], "10.0.0.1", id="a NUL"),
        pytest.param("10.0.0.1", ["for=198.51.100.9;proto=https"], "10.0.0.1", id="the syntax of RFC 7239"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str | None, forwarded: list[str], address: str) -> None:
    """What they appended counts, what came with the request does not."""
    assert client_address(peer, forwarded, PROXIES) == address


def test_nobody_is_believed_by_default() -> None:
    """Not even loopback."""
    assert client_address("127.0.0.1", ["198.51.100.9"], ()) == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "holder"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::5", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::5", "2001:db8:0:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
    ],
)
def test_one_client_may_have_many_addresses(address: str, holder: str) -> None:
    """IPv6 counts by /64."""
    assert holder_of(address) == holder


@pytest.mark.parametrize("text", ["proxy", "10.0.0.1/8", "", "10.0.0.0/33"])
def test_what_is_no_network(text: str) -> None:
    """Names and networks with host bits are refused."""
    with pytest.raises(ValueError, match=r".*"):
        parse_network(text)


def test_addresses_within_networks() -> None:
    """Both kinds of addresses, and text that is none."""
    assert is_within("10.0.0.1", PROXIES)
    assert is_within("fd00::99", PROXIES)
    assert not is_within("10.0.0.2", PROXIES)
    assert not is_within("nonsense", PROXIES)


@pytest.mark.parametrize(
    ("peer", "schemes", "https"),
    [
        ("10.0.0.1", ["https"], True),
        ("10.0.0.1", ["http", " HTTPS "], True),
        ("10.0.0.1", ["https, http"], False),
        ("10.0.0.1", [], False),
        ("10.0.0.1", ["wss"], False),
        ("192.0.2.1", ["https"], False),
        (None, ["https"], False),
    ],
)
def test_only_trusted_proxies_say_that_it_was_https(peer: str | None, schemes: list[str], https: bool) -> None:
    """The last one of them."""
    assert is_https(peer, schemes, PROXIES) == https

"""The tracker's address as users write it."""

import pytest
from gpunode_protocol.errors import BadTrackerAddress
from gpunode_protocol.tracker_url import is_loopback_host, is_loopback_url, redirect_text, tracker_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("tracker.example", "https://tracker.example"),
        ("tracker.example:8470", "https://tracker.example:8470"),
        ("https://tracker.example/", "https://tracker.example"),
        ("127.0.0.1:8470", "http://127.0.0.1:8470"),
        ("localhost", "http://localhost"),
        ("http://[::1]:8470", "http://[::1]:8470"),
        ("https://localhost:8470", "https://localhost:8470"),
    ],
)
def test_addresses(text: str, url: str) -> None:
    """https everywhere but on this machine."""
    assert tracker_url(text) == url


def test_plain_http_must_be_accepted() -> None:
    """To another machine only with insecure, which also makes it the default."""
    with pytest.raises(BadTrackerAddress, match="--insecure"):
        tracker_url("http://tracker.example")
    assert tracker_url("http://tracker.example", insecure=True) == "http://tracker.example"
    assert tracker_url("tracker.example:8470", insecure=True) == "http://tracker.example:8470"


@pytest.mark.parametrize("text", ["", "ftp://x", "host:port", "host:99999", "https://a/b", "https://user@host", "[::1"])
def test_nonsense(text: str) -> None:
    """What is no address is refused with an example."""
    with pytest.raises(BadTrackerAddress, match="looks like"):
        tracker_url(text)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://login.example/start?from=x", "redirects to https://login.example,"),
        ("https://" + "a" * 300, "redirects to https://" + "a" * 192 + ","),
        ("/elsewhere", "redirects elsewhere,"),
        ("https://user:secret@host/", "redirects elsewhere,"),
        ("https://[", "redirects elsewhere,"),
        ("", "redirects elsewhere,"),
    ],
)
def test_where_an_address_redirects(location: str, words: str) -> None:
    """The host is told, where there is one that could be given instead; nobody is led there."""
    assert f"it {words} which is not followed. Check" in redirect_text(location)


def test_loopback() -> None:
    """Names and addresses of this machine."""
    assert is_loopback_url("http://127.9.9.9:1")
    assert not is_loopback_url("http://10.0.0.1")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("x.org", False),
    ],
)
def test_hosts_of_this_machine(host: str, expected: bool) -> None:
    """By name or address; all interfaces are more than loopback."""
    assert is_loopback_host(host) is expected

"""Which addresses of webhooks are taken."""

import ipaddress

import pytest
from gpunode_tracker.errors import InvalidRequest
from gpunode_tracker.webhooks.url import check_url
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "normal", "host"),
    [
        ("https://example.com", "https://example.com", "example.com"),
        ("HTTPS://EXAMPLE.com:443/a?b=c#d", "https://example.com/a?b=c", "example.com"),
        ("https://example.com./", "https://example.com./", "example.com."),
        ("https://exämple.com/ÿ", "https://xn--exmple-cua.com/%C3%BF", "xn--exmple-cua.com"),
        ("https://a_b.example/%2F?x=%0A", "https://a_b.example/%2F?x=%0A", "a_b.example"),
        ("https://8.8.8.8/x", "https://8.8.8.8/x", "8.8.8.8"),
        ("https://[2001:4860:4860::8888]/", "https://[2001:4860:4860::8888]/", "2001:4860:4860::8888"),
        ("https://127.0.0.1.example.com/", "https://127.0.0.1.example.com/", "127.0.0.1.example.com"),
    ],
)
def test_public_https_is_taken(text: str, normal: str, host: str) -> None:
    """In normal form, without what never travels; whether the address is one is known."""
    url = check_url(text)
    assert (url.text, url.host) == (normal, host)
    assert (url.address is not None) == (host[0] in "82")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://example.com", "only https"),
        ("ftp://example.com", "only https"),
        ("example.com", "only https"),
        ("//example.com", "only https"),
        ("javascript:alert(1)", "only https"),
        ("https://example.com:8443/", "only port 443"),
        ("https://example.com:80/", "only port 443"),
        ("https://example.com:0/", "only port 443"),
        ("https://example.com:99999/", "no valid URL"),
        ("https://example.com:443:80/", "no valid URL"),
        ("https://user@example.com/", "user name and password"),
        ("https://user:word@example.com/", "user name and password"),
        ("https://:word@example.com/", "user name and password"),
        ("https://:@example.com/", "user name and password"),
        ("https:///x", "names no host"),
        ("https://", "names no host"),
        ("https://a..b/", "names no host"),
        ("https://-a.com/", "names no host"),
        (f"https://{'a' * 64}.com/", "names no host"),
        (f"https://{'a.' * 150}com/", "names no host"),
        ("https://%31%32%37.0.0.1/", "names no host"),
        ("https://exa mple.com/", "without spaces"),
        ("https://example.com/\r\nX: y", "without spaces"),
        ("https://example.com/\x00", "without spaces"),
        ("https://example.com\\@10.0.0.1/", "without spaces"),
        (f"https://example.com/{'a' * 2_000}", "2,000 characters"),
        ("", "only https"),
    ],
)
def test_what_is_no_address_for_a_webhook_is_refused(text: str, words: str) -> None:
    """Saying what is wrong, and not repeating the address, which may hold secrets."""
    with pytest.raises(InvalidRequest, match=f"^webhook: .*{words}") as raised:
        check_url(text)
    assert len(text) < 14 or text not in str(raised.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "192.168.0.1",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[2002:a00:1::]",
        "\uff11\uff12\uff17.0.0.1",  # digits that look alike and mean the same
        "①②⑦.⓪.⓪.①",
    ],
)
def test_addresses_that_are_not_public_are_refused(host: str) -> None:
    """However they are written."""
    with pytest.raises(InvalidRequest, match="this address is not public"):
        check_url(f"https://{host}/")


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1", "0x7f000001", "a.0x", "017700000001", "1.2.3.4.5"])
def test_old_ways_to_write_an_address_are_refused(host: str) -> None:
    """The system's look-up would understand some of them."""
    with pytest.raises(InvalidRequest, match="its host is a number"):
        check_url(f"https://{host}/")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "printer.local", "x.internal", "a.home.arpa"]
)
def test_names_of_local_networks_are_refused(host: str) -> None:
    """No look-up is needed to know where they lead."""
    with pytest.raises(InvalidRequest, match="local network"):
        check_url(f"https://{host}/")


def test_an_address_is_not_shown_by_accident() -> None:
    """Paths and queries hold what receivers check."""
    assert "hush" not in repr(check_url("https://example.com/hush"))


@given(
    st.one_of(st.text(), st.text().map(lambda text: f"https://{text}"), st.text().map(lambda t: f"https://a.com{t}"))
)
def test_no_text_is_too_strange(text: str) -> None:
    """It is refused as invalid, or its normal form is taken again and means the same."""
    try:
        url = check_url(text)
    except InvalidRequest:
        return
    assert check_url(url.text) == url


@given(st.ip_addresses())
def test_every_taken_address_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Python's own idea of it holds at least; of 6to4, whose IPv4 address counts, its versions have different ones."""
    host = f"[{address}]" if address.version == 6 else str(address)
    try:
        url = check_url(f"https://{host}/")
    except InvalidRequest:
        return
    assert url.address == address
    assert (getattr(address, "sixtofour", None) or address).is_global

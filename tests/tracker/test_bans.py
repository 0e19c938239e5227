"""Who is shut out."""

import pytest
from gpunode_tracker.bans import Ban, BanKind, Bans, read_network
from gpunode_tracker.errors import Banned

from tests.tracker.parties import START_AT, TestClock


def _ban(kind: BanKind, subject: str, *, reason: str = "spam", until: int | None = None) -> Ban:
    return Ban(kind, subject, reason, START_AT, until)


def _bans(clock: TestClock, *bans: Ban) -> Bans:
    made = Bans(clock)
    made.replace(bans)
    return made


@pytest.mark.parametrize("kind", [BanKind.ACCOUNT, BanKind.WORKER, BanKind.NODE])
def test_one_subject_of_a_kind(kind: BanKind, clock: TestClock) -> None:
    """The same name of another kind is somebody else."""
    bans = _bans(clock, _ban(kind, "x"))
    assert bans.find(kind, "x") == _ban(kind, "x")
    assert bans.find(kind, "y") is None
    assert [other for other in BanKind if other is not kind and bans.find(other, "x")] == []
    assert bans.of_kind(kind) == {"x"}


@pytest.mark.parametrize(
    ("banned", "address", "out"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("2001:db8::/48", "2001:db8:0:ffff::1", True),
        ("2001:db8::/48", "2001:db8:1::1", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1/128", "2001:db8::2", False),
        ("192.0.2.0/24", "c000:0200::", False),
        ("192.0.2.0/24", "unknown", False),
        ("192.0.2.0/24", "192.0.2.1, 10.0.0.1", False),
    ],
)
def test_addresses_and_networks(banned: str, address: str, out: bool, clock: TestClock) -> None:
    """IPv4 and IPv6, whole networks, and an IPv6 address for its /64."""
    assert (_bans(clock, _ban(BanKind.ADDRESS, banned)).find(BanKind.ADDRESS, address) is not None) == out


def test_a_narrow_ban_that_is_over_does_not_hide_a_wide_one(clock: TestClock) -> None:
    """Each network around an address counts for itself."""
    narrow = _ban(BanKind.ADDRESS, "192.0.2.7", until=START_AT + 10)
    wide = _ban(BanKind.ADDRESS, "192.0.2.0/24", until=START_AT + 20)
    bans = _bans(clock, narrow, wide)
    clock.advance(10)
    assert bans.find(BanKind.ADDRESS, "192.0.2.7") == wide
    clock.advance(10)
    assert bans.find(BanKind.ADDRESS, "192.0.2.7") is None


def test_a_ban_ends_by_itself(clock: TestClock) -> None:
    """At its instant, whether or not anybody tidies up."""
    bans = _bans(clock, _ban(BanKind.ACCOUNT, "a", until=START_AT + 10))
    clock.advance(9)
    with pytest.raises(Banned, match=r"This account is shut out until 2025-06-15 15:06 UTC: spam\. .*operator"):
        bans.refuse(BanKind.ACCOUNT, "a")
    clock.advance(1)
    bans.refuse(BanKind.ACCOUNT, "a")
    assert bans.of_kind(BanKind.ACCOUNT) == frozenset()


def test_what_is_replaced(clock: TestClock) -> None:
    """The newest list counts; the same one again is no change."""
    bans = _bans(clock, _ban(BanKind.ACCOUNT, "a"), _ban(BanKind.ADDRESS, "192.0.2.7"))
    assert not bans.replace((_ban(BanKind.ACCOUNT, "a"), _ban(BanKind.ADDRESS, "192.0.2.7")))
    assert bans.replace((_ban(BanKind.ACCOUNT, "b", reason="theft"),))
    assert bans.find(BanKind.ACCOUNT, "a") is None
    assert bans.find(BanKind.ADDRESS, "192.0.2.7") is None
    assert "theft" in (bans.find(BanKind.ACCOUNT, "b") or _ban(BanKind.ACCOUNT, "b")).words


@pytest.mark.parametrize("text", ["", "nobody", "192.0.2.1/24", "192.0.2.0/33", "1.2.3", "2001:db8::/129"])
def test_what_is_no_network(text: str) -> None:
    """Names, host bits and impossible lengths."""
    with pytest.raises(ValueError, match=r".*"):
        read_network(text)

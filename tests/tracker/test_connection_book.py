"""How many connections are open."""

from gpunode_tracker.client_addresses import parse_network
from gpunode_tracker.connection_book import ConnectionBook
from gpunode_tracker.limits import Limits


def test_one_address_takes_its_share_only() -> None:
    """The others' stays free; what ends makes room."""
    book = ConnectionBook(Limits(connections=10, connections_per_address=2), ())
    taken = [book.take("192.0.2.1") for _ in range(5)]
    assert taken == ["192.0.2.1", "192.0.2.1", None, None, None]
    assert book.take("192.0.2.2") == "192.0.2.2"
    book.give_back("192.0.2.1")
    assert book.take("192.0.2.1") is not None
    assert len(book) == 3


def test_ipv6_counts_by_network() -> None:
    """Another address of the same /64 has no share of its own."""
    book = ConnectionBook(Limits(connections_per_address=1), ())
    assert book.take("2001:db8::1") == "2001:db8::/64"
    assert book.take("2001:db8::2") is None
    assert book.take("2001:db8:0:1::1") is not None


def test_proxies_bring_many() -> None:
    """They are limited in all only."""
    book = ConnectionBook(Limits(connections=3, connections_per_address=1), (parse_network("10.0.0.0/24"),))
    assert [book.take("10.0.0.7") for _ in range(4)] == ["10.0.0.7"] * 3 + [None]
    assert book.take("192.0.2.1") is None

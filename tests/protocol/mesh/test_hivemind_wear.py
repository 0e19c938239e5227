"""Connections are renewed before QUIC's leak stops them, and never under a stream that is open."""

from dataclasses import dataclass

from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh._hivemind_wear import ConnectionWear

PEER, OTHER = PeerId("peer"), PeerId("other")
QUIC, TCP = "/ip4/192.0.2.1/udp/4001/quic-v1", "/ip4/192.0.2.1/tcp/4001"


@dataclass(eq=False)
class FakeStream:
    """A stream that is open until a test closes it."""

    remote_address: str = QUIC
    is_closed: bool = False


def test_a_connection_is_renewed_after_so_many_streams() -> None:
    """The count starts anew then."""
    wear = ConnectionWear(max_streams=2)
    wear.opened(PEER, QUIC)
    assert not wear.renew_now(PEER)
    wear.opened(PEER, QUIC)
    assert wear.renew_now(PEER)
    assert not wear.renew_now(PEER)


def test_tcp_does_not_wear() -> None:
    """Its streams are all counted as finished."""
    wear = ConnectionWear(max_streams=1)
    wear.opened(PEER, TCP)
    assert not wear.renew_now(PEER)


def test_peers_are_counted_apart() -> None:
    """Each has a connection of its own."""
    wear = ConnectionWear(max_streams=1)
    wear.opened(PEER, QUIC)
    assert not wear.renew_now(OTHER)


def test_a_connection_in_use_is_kept() -> None:
    """Open streams, and those that are being opened, must not be cut."""
    wear, stream = ConnectionWear(max_streams=1), FakeStream()
    wear.opened(PEER, QUIC)
    wear.watch(PEER, stream)
    assert not wear.renew_now(PEER)
    stream.is_closed = True
    with wear.opening(PEER):
        assert not wear.renew_now(PEER)
    assert wear.renew_now(PEER)


def test_a_forgotten_stream_does_not_keep_a_connection() -> None:
    """A stream that nobody can read any more counts as closed."""
    wear, stream = ConnectionWear(max_streams=1), FakeStream()
    wear.opened(PEER, QUIC)
    wear.watch(PEER, stream)
    del stream
    assert wear.renew_now(PEER)

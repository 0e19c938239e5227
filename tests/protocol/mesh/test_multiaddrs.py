import pytest
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.mesh.errors import MeshError
from gpunode_protocol.mesh.multiaddrs import (
    first_tcp_port,
    ip_of,
    is_quic,
    is_relayed,
    origin_of,
    pin_ports,
    port_of,
    split_peer,
)

PEER = Identity.from_seed(bytes(32)).peer_id
TCP, QUIC = "/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/udp/4001/quic-v1"
RELAYED = f"{TCP}/p2p/{PEER}/p2p-circuit"


def test_address_is_split_into_transport_and_peer() -> None:
    """Of a relayed address, the last peer is the one that is reached."""
    other = Identity.from_seed(bytes([1]) * 32).peer_id
    assert split_peer(f"{TCP}/p2p/{PEER}") == (TCP, PEER)
    assert split_peer(f"{RELAYED}/p2p/{other}") == (RELAYED, other)


@pytest.mark.parametrize("address", ["", TCP, f"/p2p/{PEER}", f"{TCP}/p2p/QmNotEd25519", f"{TCP}/p2p/"])
def test_address_without_peer_is_explained(address: str) -> None:
    """The message shows what an address looks like."""
    with pytest.raises(MeshError, match="12D3KooW"):
        split_peer(address)


@pytest.mark.parametrize(
    ("address", "ip", "port"),
    [
        (TCP, "192.0.2.1", 4001),
        (QUIC, "2001:db8::1", None),
        (RELAYED, None, None),
        ("/dns4/node.example/tcp/4001", None, 4001),
        ("/ip4/not-an-ip/tcp/x", None, None),
        ("", None, None),
    ],
)
def test_direct_addresses_have_ip_and_port(address: str, ip: str | None, port: int | None) -> None:
    """A relayed address is the relay's, not the peer's."""
    assert (ip_of(address), port_of(address, "tcp")) == (ip, port)


def test_kinds_of_addresses() -> None:
    """QUIC and relays are told by their names."""
    assert [is_quic(address) for address in (TCP, QUIC)] == [False, True]
    assert [is_relayed(address) for address in (TCP, RELAYED)] == [False, True]


def test_first_tcp_port_skips_relays_and_quic() -> None:
    """The port for a dial-back is our own."""
    assert first_tcp_port([QUIC, "/ip4/192.0.2.9/tcp/1/p2p/x/p2p-circuit", TCP]) == 4001
    assert first_tcp_port([QUIC]) is None


def test_chosen_ports_replace_zero() -> None:
    """A restarted daemon listens where it did before; fixed ports stay."""
    listen = ("/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/80")
    actual = (QUIC, "/ip4/192.0.2.1/tcp/5001")
    assert pin_ports(listen, actual) == (
        "/ip4/0.0.0.0/tcp/5001",
        "/ip4/0.0.0.0/udp/4001/quic-v1",
        "/ip4/0.0.0.0/tcp/80",
    )
    assert pin_ports(listen[:1], ()) == listen[:1]


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        pytest.param(TCP, "192.0.2.1", id="IPv4"),
        pytest.param("/ip6/2001:db8:1:2:3:4:5:6/tcp/1", "2001:db8:1:2::", id="IPv6: the subscriber's network"),
        pytest.param(RELAYED, f"{PEER}/me", id="relayed: relay and peer"),
        pytest.param("/memory/1", "me", id="unknown: the peer"),
        pytest.param("", "me", id="none"),
    ],
)
def test_what_limits_of_an_address_count_under(address: str, origin: str) -> None:
    """Peer ids cost nothing, addresses do."""
    assert origin_of(address, PeerId("me")) == origin

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh.knock import MAX_DOORS, Door, all_refuse, doors_of

from tests.node.virtual_time import virtual_time

PEER = Identity.from_seed(bytes(32)).peer_id
QUIC = "/ip4/192.0.2.1/udp/4001/quic-v1"
TCP = "/ip4/192.0.2.1/tcp/4001"
PUBLIC = "/ip4/8.8.8.8/tcp/4001"
HOME = "/ip4/192.168.1.5/tcp/4001"
RELAYED = f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}/p2p-circuit"


@pytest.mark.parametrize(
    ("addresses", "seen_at", "doors"),
    [
        ((TCP, QUIC), QUIC, (Door("192.0.2.1", 4001),)),
        ((f"{TCP}/p2p/{PEER}", TCP, QUIC), f"{QUIC}/p2p/{PEER}", (Door("192.0.2.1", 4001),)),
        (
            ("/ip6/2001:db8:0::1/tcp/5", "/ip6/2001:db8:0::1/udp/4/quic"),
            "/ip6/2001:db8::1/udp/4/quic",
            (Door("2001:db8::1", 5),),
        ),
        # it was started again, at other ports
        ((TCP, "/ip4/192.0.2.1/udp/4002/quic-v1"), QUIC, (Door("192.0.2.1", 4001, is_quic=True),)),
        ((TCP,), QUIC, (Door("192.0.2.1", 4001, is_quic=True),)),
        (("/ip4/192.0.2.2/tcp/4001",), QUIC, ()),
        ((TCP, RELAYED), QUIC, ()),  # the connection may lead through a hole in a router
        ((TCP, QUIC), TCP, ()),  # the system tells of a TCP connection's end
        ((RELAYED, QUIC), QUIC, ()),
        ((TCP,), RELAYED, ()),
        ((HOME, QUIC), QUIC, ()),  # the same private address is another machine's here
        (("/dns4/node.example/tcp/4001", QUIC), QUIC, ()),
        (("/ip4/192.0.2.1/tcp/0", "/ip4/192.0.2.1/tcp/65536", "", QUIC), QUIC, ()),
        ((TCP,), "", ()),
    ],
)
def test_doors_are_where_the_peer_is_connected(addresses: Sequence[str], seen_at: str, doors: Sequence[Door]) -> None:
    """TCP ports beside the QUIC port to which there is a connection, as its advert names them, or that port itself."""
    assert doors_of(addresses, seen_at) == doors


@pytest.mark.parametrize(
    ("addresses", "doors"),
    [
        ((QUIC, HOME), (Door("192.168.1.5", 4001),)),
        ((HOME, PUBLIC), (Door("8.8.8.8", 4001),)),  # a private address is another machine's in another network
        ((PUBLIC, RELAYED), ()),  # whoever has a relay may need it
        ((QUIC,), ()),
    ],
)
def test_doors_of_a_peer_without_a_connection(addresses: Sequence[str], doors: Sequence[Door]) -> None:
    """The public ones, or all, of a peer that is to be reached directly."""
    assert doors_of(addresses) == doors


def test_doors_are_few() -> None:
    """However many ports a peer advertises."""
    addresses = [QUIC, *(f"/ip4/192.0.2.1/tcp/{port}" for port in range(1, 100))]
    assert len(doors_of(addresses, QUIC)) == MAX_DOORS


class _Street:
    """Sockets on loopback, closed with the stack."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def _bound(self, host: str = "127.0.0.1", kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = self._stack.enter_context(socket.socket(family, kind))
        bound.bind((host, 0))
        return bound

    def refusing(self, host: str = "127.0.0.1") -> Door:
        """Return a port that nobody can take meanwhile, and at which nobody listens."""
        return Door(host, self._bound(host).getsockname()[1])

    def closed_quic(self) -> Door:
        """Return a UDP port at which nobody is: one connected elsewhere, so that no other program gets it."""
        bound = self._bound(kind=socket.SOCK_DGRAM)
        bound.connect(("127.0.0.1", 9))
        return Door("127.0.0.1", bound.getsockname()[1], is_quic=True)

    def open_quic(self) -> tuple[Door, socket.socket]:
        """Return a UDP port at which somebody is, and the socket."""
        bound = self._bound(kind=socket.SOCK_DGRAM)
        return Door("127.0.0.1", bound.getsockname()[1], is_quic=True), bound

    def open(self) -> tuple[Door, socket.socket]:
        """Return a port at which somebody listens, with the listening socket."""
        listening = self._bound()
        listening.listen()
        return Door(*listening.getsockname()), listening

    def silent(self) -> Door:
        """Return a port whose queue is full: the system drops what comes, as a firewall does."""
        listening = self._bound()
        listening.listen(0)
        for _ in range(3):
            waiting = self._stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        return Door(*listening.getsockname())


@pytest.fixture
def street() -> Iterator[_Street]:
    """Doors of all kinds."""
    with ExitStack() as stack:
        yield _Street(stack)


async def test_a_process_that_has_ended_refuses(street: _Street) -> None:
    """At every door, over both families."""
    assert await all_refuse([street.refusing()])
    assert await all_refuse([street.refusing(), street.refusing("::1")])


async def test_an_open_door_says_nothing(street: _Street) -> None:
    """Somebody is there; nothing is sent, and the connection is closed."""
    door, listening = street.open()
    assert not await all_refuse([door])
    accepted, _ = listening.accept()
    with accepted:
        assert accepted.recv(1) == b""


async def test_a_closed_port_of_quic_refuses(street: _Street) -> None:
    """The system says so by ICMP."""
    assert await all_refuse([street.closed_quic()])


@virtual_time
async def test_an_open_port_of_quic_says_nothing(street: _Street) -> None:
    """What arrives there is no packet of QUIC."""
    door, bound = street.open_quic()
    assert not await all_refuse([door], timeout_s=1.0)
    assert len(bound.recv(100)) == 1


async def test_one_door_that_does_not_refuse_is_enough(street: _Street) -> None:
    """The process may have lost one of its ports."""
    door, _ = street.open()
    assert not await all_refuse([street.refusing(), door])


@virtual_time
async def test_silence_says_nothing(street: _Street) -> None:
    """Neither a host nor a firewall that drops packets tells of its processes."""
    assert not await all_refuse([street.refusing(), street.silent()], timeout_s=1.0)


async def test_an_unreachable_address_says_nothing() -> None:
    """The way is at fault, not the process."""
    assert not await all_refuse([Door("255.255.255.255", 9)])
    assert not await all_refuse([Door("255.255.255.255", 9, is_quic=True)])


async def test_without_doors_nothing_is_known() -> None:
    """A peer behind a relay, or without TCP, is not taken for dead."""
    assert not await all_refuse([])

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh import MeshConfig, PeerUnreachable
from gpunode_protocol.mesh._dht_protocol import own_node_id
from gpunode_protocol.mesh._hivemind_api import PeerID
from gpunode_protocol.mesh._hivemind_membership import Membership
from gpunode_protocol.mesh.known_peers import KnownPeers

OWN = Identity.from_seed(bytes(32)).peer_id


def address(number: int) -> str:
    """Return a peer's address by number."""
    return f"/ip4/192.0.2.{number}/tcp/4001/p2p/{Identity.from_seed(bytes([number]) * 32).peer_id}"


def peer(number: int) -> PeerID:
    """Return a peer id by number."""
    return PeerID.from_base58(Identity.from_seed(bytes([number]) * 32).peer_id)


class FakeLink:
    """A link to a network in which some peers answer, each with its clock's offset in seconds."""

    def __init__(self, offsets_s: dict[int, float]) -> None:
        self.node = self.protocol = self.p2p = self
        self.node_id = own_node_id(PeerID.from_base58(OWN))
        self.routing_table: set[PeerID] = set()
        self.dialled: list[str] = []
        self.lookups = 0
        self._offsets_s = {peer(number): offset_s for number, offset_s in offsets_s.items()}

    async def dial(self, target: PeerID, addresses: Sequence[str], timeout_s: float) -> None:
        """Reach those who answer."""
        assert timeout_s > 0
        self.dialled += [f"{transport}/p2p/{target.to_base58()}" for transport in addresses]
        if target not in self._offsets_s:
            raise PeerUnreachable

    async def greet(self, target: PeerID) -> float | None:
        """Get to know a peer."""
        self.routing_table.add(target)
        return self._offsets_s[target]

    def set_clock(self, offset_s: float) -> None:
        """Let all peers find this clock so far ahead of theirs."""
        self._offsets_s = dict.fromkeys(self._offsets_s, offset_s)

    def known_nodes(self, _: Any, count: int) -> list[tuple[int, PeerID]]:
        """Return who was greeted."""
        return [(int(own_node_id(known)), known) for known in self.routing_table][:count]

    async def find_nearest(self, *_: Any) -> None:
        """Count the look-ups."""
        self.lookups += 1

    async def peers(self) -> list[tuple[PeerID, str]]:
        """Return the connections of those who were greeted, and one of somebody else."""
        return [
            *((known, "/ip4/192.0.2.99/tcp/1") for known in self.routing_table),
            (peer(200), "/ip4/192.0.2.200/tcp/1"),
        ]


def fake_link(offsets_s: dict[int, float]) -> Any:
    """Return a FakeLink, which is no Link to the type checker."""
    return FakeLink(offsets_s)


def membership(*bootstrap: int, known: KnownPeers | None = None) -> Membership:
    """Return the membership of a peer with these bootstrap peers."""
    config = MeshConfig(identity_path=Path("identity.key"), bootstrap=tuple(map(address, bootstrap)))
    return Membership(config, OWN, known or KnownPeers(None))


async def test_first_peer_has_no_problem() -> None:
    """Without bootstrap peers, being alone is intended."""
    first, link = membership(), fake_link({})
    await first.refresh(link)
    assert first.problem(link) == ""


async def test_all_bootstrap_peers_are_tried_and_one_is_enough() -> None:
    """A dead bootstrap peer does not keep anyone out."""
    node, link = membership(1, 2), fake_link({2: 0.0})
    await node.refresh(link)
    assert link.dialled == [address(1), address(2)]
    assert (node.problem(link), link.lookups) == ("", 1)


async def test_all_addresses_of_a_bootstrap_peer_are_tried() -> None:
    """Where UDP is blocked, its TCP address must still lead in."""
    by_quic = address(1).replace("tcp/4001", "udp/4001/quic-v1")
    config = MeshConfig(identity_path=Path("identity.key"), bootstrap=(address(1), by_quic))
    node, link = Membership(config, OWN, KnownPeers(None)), fake_link({1: 0.0})
    await node.refresh(link)
    assert link.dialled == [address(1), by_quic]


async def test_only_missing_bootstrap_peers_are_dialled_again() -> None:
    """Every refresh tries those who are not known, and nobody else."""
    node, link = membership(1, 2), fake_link({2: 0.0})
    await node.refresh(link)
    link.dialled.clear()
    await node.refresh(link)
    assert link.dialled == [address(1)]


async def test_a_greeting_alone_joins() -> None:
    """Who is greeted leads to everybody else; the routing table is filled later."""
    node, link = membership(1), fake_link({1: 0.0})
    await node.greet(link)
    assert (node.problem(link), link.lookups) == ("", 0)
    await node.refresh(link)
    assert (len(link.dialled), link.lookups) == (1, 1)


async def test_problem_names_what_was_tried() -> None:
    """A user can see which addresses do not answer."""
    node, link = membership(1, 2), fake_link({})
    await node.refresh(link)
    assert address(1) in node.problem(link)
    assert address(2) in node.problem(link)


async def test_known_peers_are_the_second_way_in() -> None:
    """They are asked too while nobody is known, and lead back in."""
    known = KnownPeers(None)
    known.remember([address(7)])
    node, link = membership(1, known=known), fake_link({7: 0.0})
    await node.refresh(link)
    assert sorted(link.dialled) == [address(1), address(7)]
    assert node.problem(link) == ""


async def test_connected_servers_are_remembered() -> None:
    """Peers of the routing table, not every connection."""
    known = KnownPeers(None)
    node, link = membership(1, known=known), fake_link({1: 0.0})
    await node.refresh(link)
    assert known.addresses() == (f"/ip4/192.0.2.99/tcp/1/p2p/{peer(1).to_base58()}",)


@pytest.mark.parametrize(("offset_s", "words"), [(42.0, "42 s ahead of"), (-5.1, "5 s behind"), (2.9, ""), (-2.9, "")])
async def test_wrong_clock_is_told_with_its_offset(offset_s: float, words: str) -> None:
    """hivemind refuses without saying by how much; we go on and say it."""
    node, link = membership(1), fake_link({1: offset_s})
    await node.refresh(link)
    assert node.clock_offset_s == offset_s
    assert (words in node.problem(link)) if words else (node.problem(link) == "")


async def test_a_clock_that_was_set_is_no_problem_any_more() -> None:
    """While it is off, the bootstrap peers are asked again and again."""
    node, link = membership(1), fake_link({1: 42.0})
    await node.refresh(link)
    assert "42 s ahead of" in node.problem(link)
    link.set_clock(0.1)
    await node.refresh(link)
    assert (node.problem(link), len(link.dialled)) == ("", 2)
    await node.refresh(link)
    assert len(link.dialled) == 2


async def test_one_lying_clock_does_not_count() -> None:
    """The median of the peers decides."""
    node, link = membership(1, 2, 3), fake_link({1: 0.1, 2: 9_000.0, 3: 0.2})
    await node.refresh(link)
    assert (node.clock_offset_s, node.problem(link)) == (0.2, "")


async def test_dead_daemon_is_a_problem() -> None:
    """While p2pd is restarted there is no mesh."""
    assert "p2pd" in membership().problem(None)


async def test_we_do_not_dial_ourselves() -> None:
    """A tracker may be listed among its own bootstrap peers."""
    own_address = f"/ip4/192.0.2.1/tcp/1/p2p/{OWN}"
    config = MeshConfig(identity_path=Path("identity.key"), bootstrap=(own_address,))
    tracker, link = Membership(config, OWN, KnownPeers(None)), fake_link({})
    await tracker.refresh(link)
    assert (link.dialled, tracker.problem(link)) == ([], "")


async def test_unwritable_state_does_not_stop_the_mesh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Known peers that cannot be saved are a warning."""
    (tmp_path / "file").write_text("")
    known = KnownPeers(tmp_path / "file" / "known_peers.json")
    node, link = membership(1, known=known), fake_link({1: 0.0})
    await node.refresh(link)
    assert "known peers cannot be saved" in caplog.text

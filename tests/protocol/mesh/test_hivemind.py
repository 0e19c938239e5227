import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh import (
    MeshError,
    MeshState,
    MeshStream,
    MeshUnavailable,
    PeerUnreachable,
    RecordRejected,
    _hivemind_streams,
    create_mesh,
)
from gpunode_protocol.mesh._hivemind import CONNECTED_S, HivemindMesh
from gpunode_protocol.mesh._hivemind_api import PeerID
from gpunode_protocol.mesh._hivemind_streams import MAX_OPENS_IN_FLIGHT
from gpunode_protocol.mesh._hivemind_wear import ConnectionWear
from gpunode_protocol.mesh.records import MAX_VALUE_BYTES, DhtRecord

from tests.protocol.mesh.conftest import MeshFactory, Network, fresh, link_of, mesh_config, tcp_address
from tests.protocol.mesh.plain_records import PlainValidator, plain_record

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def echo(stream: MeshStream) -> None:
    """Send back what comes."""
    while data := await stream.read():
        await stream.write(data)


async def peers_found(mesh: HivemindMesh, key: str) -> set[str]:
    """Return whose records a look-up finds."""
    return {record.peer_id for record in (await mesh.find(key)).records}


async def test_everyone_has_joined_and_nobody_lists_the_client(network: Network) -> None:
    """Servers know each other; the client knows them and is known to none."""
    servers = {mesh.peer_id for mesh in network.servers}
    for mesh in (*network.servers, network.client):
        assert await mesh.wait_joined(5)
        assert not mesh.status.problem
        assert abs(mesh.status.clock_offset_s or 0) < 1
        known = {peer.to_base58() for peer in link_of(mesh).protocol.routing_table.peer_id_to_uid}
        assert servers - {mesh.peer_id} <= known
        assert network.client.peer_id not in known


async def test_announced_records_are_found_by_everyone(network: Network) -> None:
    """A record is stored by every one of the few servers, and the client finds what servers announced."""
    key = fresh("announced")
    announcers = (*network.servers, network.client)
    for mesh in announcers:
        assert await mesh.announce(plain_record(mesh.peer_id, key)) == len(network.servers)
    for mesh in announcers:
        found = await mesh.find(key)
        assert {record.peer_id for record in found.records} == {other.peer_id for other in announcers}
        assert (found.replicas_answered, dict(found.dropped)) == (len(network.servers), {})


async def test_client_stores_nothing_for_others(network: Network) -> None:
    """Client mode takes part without storage."""
    await network.alice.announce(plain_record(network.alice.peer_id, fresh("not at the client")))
    assert network.client.status.records_stored == 0


async def test_newer_sequence_replaces_and_older_is_refused(network: Network) -> None:
    """Readers see the newest; going back is not possible."""
    key = fresh("sequence")
    alice = network.alice
    for sequence, replicas in ((1, 3), (3, 3), (2, 0)):
        assert await alice.announce(plain_record(alice.peer_id, key, sequence)) == replicas
    assert [record.sequence for record in (await network.client.find(key)).records] == [3]


async def test_tombstone_hides_its_peer_only(network: Network) -> None:
    """A drained node is not found any more, the others are."""
    key = fresh("tombstone")
    for mesh in (network.alice, network.bob):
        await mesh.announce(plain_record(mesh.peer_id, key))
    await network.bob.announce(plain_record(network.bob.peer_id, key, 2, tombstone=True))
    assert await peers_found(network.client, key) == {network.alice.peer_id}


async def test_bad_announcements_store_nothing(network: Network) -> None:
    """Long-lived, foreign and oversized records are not accepted anywhere."""
    alice, bob = network.alice, network.bob
    assert await alice.announce(plain_record(alice.peer_id, "bad", lifetime_s=10_000)) == 0
    with pytest.raises(RecordRejected, match="wrong_subkey"):
        await alice.announce(plain_record(bob.peer_id, "bad"))
    with pytest.raises(RecordRejected, match="too_large"):
        await alice.announce(DhtRecord(key="bad", subkey=alice.peer_id, value=bytes(MAX_VALUE_BYTES), expires_at=1))
    assert await peers_found(network.client, "bad") == set()
    assert bob.status.records_rejected["expires_too_late"] > 0


async def test_key_that_nobody_announced_is_empty(network: Network) -> None:
    """No records is an answer, not an error."""
    found = await network.client.find("nobody announced this")
    assert (found.records, found.replicas_answered) == ((), len(network.servers))


async def test_streams_reach_a_peer_by_its_id_alone(network: Network) -> None:
    """libp2p finds the address of a peer that the client never dialled; both ends know who is there."""
    protocol = fresh("/test/echo")
    seen = []

    async def remember_and_echo(stream: MeshStream) -> None:
        seen.append(stream.remote_peer_id)
        await echo(stream)

    await network.bob.serve(protocol, remember_and_echo)
    stream = await network.client.open_stream(network.bob.peer_id, protocol)
    await stream.write(b"frame")
    assert await stream.read() == b"frame"
    await stream.close()
    assert (stream.remote_peer_id, seen) == (network.bob.peer_id, [network.client.peer_id])
    assert network.bob.peer_id in await network.client.connected_peers()


async def test_unserved_protocol_and_unknown_peer_are_unreachable(network: Network) -> None:
    """Both are errors within the deadline."""
    with pytest.raises(PeerUnreachable, match="protocol"):
        await network.client.open_stream(network.bob.peer_id, "/test/unserved")
    stranger = Identity.generate().peer_id
    with pytest.raises(PeerUnreachable):
        await network.client.open_stream(stranger, "/test/echo", ["/ip4/127.0.0.1/tcp/1"], deadline_s=5)
    with pytest.raises(PeerUnreachable):
        await network.client.open_stream(stranger, "/test/echo", ["not a multiaddr"], deadline_s=5)


async def test_four_hundred_opens_at_once_all_arrive(network: Network) -> None:
    """Ungated, some of 250 are dropped in silence; the gate keeps at most 64 under way."""
    protocol = fresh("/test/many")
    await network.bob.serve(protocol, echo)
    addresses = await network.bob.addresses()

    async def ask(number: int) -> bool:
        stream = await network.alice.open_stream(network.bob.peer_id, protocol, addresses, deadline_s=30)
        try:
            await stream.write(b"%d" % number)
            return await stream.read() == b"%d" % number
        finally:
            await stream.close()

    assert await asyncio.gather(*(ask(number) for number in range(400))) == [True] * 400
    assert network.alice._gate._value == MAX_OPENS_IN_FLIGHT


async def test_short_answers_before_a_close_all_arrive(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """p2pd drops what was not read before either side's close; without lingering, one answer in three is lost.

    Retries, which would hide that, are off; so now and then a stream that p2pd opened dead counts as a loss too.
    """
    protocol = fresh("/test/refuse")
    monkeypatch.setattr(_hivemind_streams, "DEAD_STREAM_RETRIES", 0)
    answers = Counter[bytes]()

    async def refuse(stream: MeshStream) -> None:
        await stream.read()
        await stream.write(b"no")

    await network.bob.serve(protocol, refuse)
    for _ in range(50):
        stream = await network.alice.open_stream(network.bob.peer_id, protocol)
        with contextlib.suppress(PeerUnreachable):  # it was dead already when it was written to
            await stream.write(b"please")
            answers[await stream.read()] += 1
        await stream.close()
    assert answers[b"no"] > 45, answers


async def test_a_worn_connection_is_renewed_between_streams(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """QUIC's leak of streams would make a peer unreachable; an open stream is not cut, and the next ones work."""
    protocol = fresh("/test/worn")
    wear = ConnectionWear(max_streams=3)
    monkeypatch.setattr(network.alice, "_wear", wear)
    monkeypatch.setattr(wear, "opened", lambda peer, _: ConnectionWear.opened(wear, peer, "/quic-v1"))  # even over TCP
    await network.bob.serve(protocol, echo)

    async def ask(stream: MeshStream) -> None:
        await stream.write(b"?")
        assert await stream.read() == b"?"

    held = await network.alice.open_stream(network.bob.peer_id, protocol)
    for _ in range(5):
        stream = await network.alice.open_stream(network.bob.peer_id, protocol)
        await ask(stream)
        await stream.close()
    await ask(held)
    await held.close()
    before = wear._of_peer[network.bob.peer_id].opened
    stream = await network.alice.open_stream(network.bob.peer_id, protocol, await network.bob.addresses())
    await ask(stream)
    await stream.close()
    renewed = wear._of_peer[network.bob.peer_id].opened
    # a stream that p2pd opened dead is opened again and counts twice: no count is exact
    assert before >= 6 > renewed, (before, renewed)


async def test_a_peer_just_spoken_to_is_dialled_only_when_its_connection_has_gone(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dialling costs as much as opening; but whoever came back at another address must be dialled there."""
    protocol = fresh("/test/again")
    alice, p2p = network.alice, link_of(network.alice).p2p
    dialled: list[str] = []
    dial = p2p.dial

    async def note_and_dial(peer: PeerID, addresses: Sequence[str], timeout_s: float) -> None:
        dialled.append(peer.to_base58())
        await dial(peer, addresses, timeout_s)

    monkeypatch.setattr(p2p, "dial", note_and_dial)
    monkeypatch.setattr(alice, "_connections", {})
    await network.bob.serve(protocol, echo)
    addresses = await network.bob.addresses()
    stream = await alice.open_stream(network.bob.peer_id, protocol, addresses)
    await stream.close()
    at_once = (alice.open_stream(network.bob.peer_id, protocol, addresses) for _ in range(3))
    for stream in await asyncio.gather(*at_once):
        await stream.close()
    assert dialled == [network.bob.peer_id]
    gone = Identity.generate().peer_id
    alice._connections[gone] = link_of(alice), asyncio.get_running_loop().time()
    with pytest.raises(PeerUnreachable):
        await alice.open_stream(gone, protocol, ["/ip4/127.0.0.1/tcp/1"], deadline_s=5)
    assert gone in dialled


async def test_a_peer_that_came_back_elsewhere_is_reached_at_once(network: Network, make_mesh: MeshFactory) -> None:
    """Its old addresses are not tried for seconds before its new ones."""
    peers = (await tcp_address(network.bootstrap),)
    node = await make_mesh("node", bootstrap=peers)
    await node.serve("/test/back", echo)
    stream = await network.alice.open_stream(node.peer_id, "/test/back", await node.addresses())
    await stream.close()
    await node.stop()
    link, opened_at = network.alice._connections[node.peer_id]
    network.alice._connections[node.peer_id] = link, opened_at - CONNECTED_S  # what a start of a node takes at least
    node = await make_mesh("node", bootstrap=peers)
    await node.serve("/test/back", echo)
    stream = await network.alice.open_stream(node.peer_id, "/test/back", await node.addresses(), deadline_s=3)
    await stream.close()


async def test_reachability_is_what_others_see(network: Network) -> None:
    """On loopback everyone who listens is reachable; who does not listen is not."""
    reachability = await network.alice.check_reachability()
    assert (reachability.reachable, reachability.observed_ips) == (True, ("127.0.0.1",))
    assert reachability.answers == len(network.servers) - 1


async def test_peer_that_does_not_listen_is_not_reachable(network: Network, make_mesh: MeshFactory) -> None:
    """A client without listeners can still find, open streams, and knows that it cannot be dialled."""
    silent = await make_mesh(
        "silent", bootstrap=(await tcp_address(network.bootstrap),), client_mode=True, listen_addresses=()
    )
    assert silent.status.state is MeshState.JOINED
    assert (await silent.check_reachability()).reachable is False
    await network.alice.announce(plain_record(network.alice.peer_id, "seen by the silent"))
    assert await peers_found(silent, "seen by the silent") == {network.alice.peer_id}


async def test_unreachable_bootstrap_degrades_and_recovers(make_mesh: MeshFactory) -> None:
    """A node that starts before its tracker says what is wrong, and joins by itself when the tracker comes."""
    tracker = await make_mesh("tracker")
    address = await tcp_address(tracker)
    port = address.split("/")[4]
    await tracker.stop()
    node = await make_mesh("node", bootstrap=(address,))
    assert node.status.state is MeshState.DEGRADED
    assert address in node.status.problem
    assert await node.announce(plain_record(node.peer_id, "alone")) == 1  # at itself
    await make_mesh("tracker", listen_addresses=(f"/ip4/127.0.0.1/tcp/{port}",))
    assert await node.wait_joined(20)
    assert not node.status.problem


async def test_mesh_outlives_its_bootstrap_peer(make_mesh: MeshFactory, tmp_path: Path) -> None:
    """Announce and find go on; a restarted client gets in through the peers that it remembers."""
    tracker = await make_mesh("tracker", quic=False)
    bootstrap = (await tcp_address(tracker),)
    node = await make_mesh("node", bootstrap=bootstrap, quic=False)
    client = await make_mesh("client", bootstrap=bootstrap, client_mode=True, quic=False)
    await node.announce(plain_record(node.peer_id, "before"))
    await client.find("before")  # meets the node
    await tracker.stop()
    assert await node.announce(plain_record(node.peer_id, "after")) == 1
    assert await peers_found(client, "after") == {node.peer_id}
    await client.stop()
    again = create_mesh(mesh_config(tmp_path / "client", bootstrap=bootstrap, client_mode=True), PlainValidator())
    await again.start()
    try:
        assert await again.wait_joined(20)
        assert {record.peer_id for record in (await again.find("after")).records} == {node.peer_id}
    finally:
        await again.stop()


async def test_stop_leaves_no_process_and_no_socket(make_mesh: MeshFactory, tmp_path: Path) -> None:
    """After stop, nothing runs and only the key and the known peers are on the disk; stopping twice is fine."""
    mesh = await make_mesh("short-lived")
    assert mesh._runtime_dir is not None
    daemon, sockets = psutil.Process(link_of(mesh).daemon.pid), mesh._runtime_dir.path
    await mesh.stop()
    await mesh.stop()
    assert not daemon.is_running()
    assert not sockets.exists()
    assert {path.name for path in (tmp_path / "short-lived").iterdir()} == {"identity.key", "known_peers.json"}
    assert mesh.status.state is MeshState.STOPPED
    with pytest.raises(MeshUnavailable):
        await mesh.addresses()


async def test_identity_is_known_before_the_start(tmp_path: Path) -> None:
    """The key file is made by the constructor, and p2pd takes the same identity."""
    mesh = HivemindMesh(mesh_config(tmp_path / "node"), PlainValidator())
    assert mesh.peer_id == mesh.identity.peer_id
    assert mesh.status.state is MeshState.STOPPED


async def test_bootstrap_address_without_peer_is_refused(tmp_path: Path) -> None:
    """A typing mistake is told at once, not after 60 s."""
    with pytest.raises(MeshError, match="not a peer's address"):
        HivemindMesh(mesh_config(tmp_path / "node", bootstrap=("/ip4/127.0.0.1/tcp/1",)), PlainValidator())


async def test_start_up_is_quick(make_mesh: MeshFactory) -> None:
    """p2pd and the DHT are ready in a fraction of the 60 s that a start may take."""
    begun_s = time.monotonic()
    await make_mesh("quick")
    assert time.monotonic() - begun_s < 10

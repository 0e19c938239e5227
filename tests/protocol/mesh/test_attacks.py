"""One peer against the records of others, over real p2pd: overwriting, outliving, replaying, flooding."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from gpunode_benchmarks.flood_streams import StreamFlood
from gpunode_protocol.mesh import MeshStream
from gpunode_protocol.mesh._dht_protocol import (
    BUCKET_SIZE,
    MAX_RECORDS_PER_STORE,
    RecordProtocol,
    dht_id,
    own_node_id,
)
from gpunode_protocol.mesh._hivemind import HivemindMesh
from gpunode_protocol.mesh._hivemind_api import PeerID
from gpunode_protocol.mesh.record_store import StoreLimits
from gpunode_protocol.mesh.records import key_id_of, pack_value
from gpunode_protocol.mesh.stream_limits import MAX_STREAMS_PER_ADDRESS

from tests.protocol.mesh.conftest import MeshFactory, Network, fresh, link_of, tcp_address
from tests.protocol.mesh.plain_records import plain_record, plain_value
from tests.protocol.mesh.sybils import Answer, distance, ground_identities, sybils

pytestmark = pytest.mark.asyncio(loop_scope="session")

CROWD, STREAMS_OF_ONE = 3, 400
TEN_YEARS_S = 10 * 365 * 86_400
FLOOD_REQUESTS = 200
"""Of 64 records of 3 KB each: 38 MB at each of three servers."""


def protocol_of(mesh: HivemindMesh) -> RecordProtocol:
    """Return the protocol of a running mesh."""
    return link_of(mesh).protocol


async def store_at(
    attacker: HivemindMesh,
    victim: HivemindMesh,
    records: Sequence[tuple[str, bytes]],
    *,
    lifetime_s: int = 100,
    subkey: str = "",
) -> list[bool]:
    """Store raw records at one server, past all checks of our own side; return which it keeps."""
    expires_at = float(int(time.time()) + lifetime_s)
    count = len(records)
    kept = await protocol_of(attacker).call_store(
        PeerID.from_base58(victim.peer_id),
        [dht_id(key_id_of(key)) for key, _ in records],
        [pack_value(key, value) for key, value in records],
        [expires_at] * count,
        [subkey or attacker.peer_id] * count,
    )
    return list(kept or [])


async def found_by(mesh: HivemindMesh, key: str) -> dict[str, int]:
    """Return the sequence that a look-up finds of each peer."""
    return {record.peer_id: record.sequence for record in (await mesh.find(key)).records}


async def test_a_ten_year_record_blocks_nobody(network: Network, make_mesh: MeshFactory) -> None:
    """Under stock hivemind it kept the owner out; here it is stored under nobody's name."""
    attacker = await make_mesh("attacker", bootstrap=(await tcp_address(network.bootstrap),), quic=False)
    key, alice = fresh("attacks/outlived"), network.alice
    for subkey in (attacker.peer_id, alice.peer_id):
        expires_at = int(time.time()) + TEN_YEARS_S
        value = plain_value(1, expires_at)
        for server in network.servers:
            kept = await store_at(attacker, server, [(key, value)], lifetime_s=TEN_YEARS_S, subkey=subkey)
            assert kept == [False]
    assert await alice.announce(plain_record(alice.peer_id, key, 2)) >= len(network.servers)
    assert await found_by(network.client, key) == {alice.peer_id: 2}


async def test_a_record_under_anothers_name_replaces_nothing(network: Network, make_mesh: MeshFactory) -> None:
    """However new it is and however proper its lifetime: a peer stores its own records only."""
    attacker = await make_mesh("attacker", bootstrap=(await tcp_address(network.bootstrap),), quic=False)
    key, alice = fresh("attacks/overwritten"), network.alice
    await alice.announce(plain_record(alice.peer_id, key, 5))
    value = plain_value(9, int(time.time()) + 100)
    for server in network.servers:
        assert await store_at(attacker, server, [(key, value)], subkey=alice.peer_id) == [False]
    assert await found_by(network.client, key) == {alice.peer_id: 5}


async def test_a_replayed_record_replaces_nothing(network: Network, make_mesh: MeshFactory) -> None:
    """Whoever saw an older record of a peer cannot store it under that peer's name.

    Under its own it cannot either where records are signed, which these are not: see tests/acceptance.
    """
    attacker = await make_mesh("attacker", bootstrap=(await tcp_address(network.bootstrap),), quic=False)
    key, alice = fresh("attacks/replayed"), network.alice
    older = plain_record(alice.peer_id, key, 7)
    await alice.announce(older)
    await alice.announce(plain_record(alice.peer_id, key, 8))
    for server in network.servers:
        assert await store_at(attacker, server, [(key, older.value)], subkey=alice.peer_id) == [False]
    assert await found_by(network.client, key) == {alice.peer_id: 8}


async def test_a_flood_of_valid_records_is_bounded(network: Network, make_mesh: MeshFactory) -> None:
    """Valid in every respect, new keys all the time: a peer gets its 64 records; others announce and find as before."""
    attacker = await make_mesh("attacker", bootstrap=(await tcp_address(network.bootstrap),), quic=False)
    numbers = itertools.count()
    before = {server.peer_id: server.status.records_stored for server in network.servers}
    kept = 0
    for _ in range(FLOOD_REQUESTS):
        value = plain_value(1, int(time.time()) + 100, note="x" * 3_000)
        for server in network.servers:
            records = [(f"attacks/flood/{next(numbers)}", value) for _ in range(MAX_RECORDS_PER_STORE)]
            kept += sum(await store_at(attacker, server, records))
    limit = StoreLimits().records_per_peer
    assert 0 < kept <= limit * len(network.servers)
    for server in network.servers:
        assert server.status.records_stored - before[server.peer_id] <= limit
        assert server.status.records_rejected["rate_limited"] > 0
    bob = network.bob
    key = fresh("attacks/flooded")
    assert await bob.announce(plain_record(bob.peer_id, key)) >= len(network.servers)
    assert await found_by(network.client, key) == {bob.peer_id: 1}


async def test_peers_of_one_address_share_its_streams(network: Network, make_mesh: MeshFactory) -> None:
    """Three peers, none with more than a peer may have: those beyond the address's 1,024 are cut, later ones served."""
    server, protocol = network.bob, fresh("/gpunode-test/1/held")
    end = asyncio.Event()

    async def hold(stream: MeshStream) -> None:
        await stream.write(b"served")
        await end.wait()

    await server.serve(protocol, hold)
    where = (await tcp_address(server),)
    crowd = [await make_mesh(f"crowd{number}", client_mode=True, quic=False) for number in range(CROWD)]
    floods = [StreamFlood(mesh) for mesh in crowd]

    async def flood(streams: StreamFlood) -> list[bytes]:
        peer = await streams.dial(server.peer_id, where)
        await streams.open(peer, protocol, STREAMS_OF_ONE)
        return await asyncio.gather(*(asyncio.wait_for(reader.read(6), 30) for reader, _ in streams.opened))

    words = [word for words in await asyncio.gather(*map(flood, floods)) for word in words]
    end.set()
    await asyncio.gather(*map(_drop, floods))
    assert words.count(b"served") == MAX_STREAMS_PER_ADDRESS
    assert words.count(b"") == len(words) - MAX_STREAMS_PER_ADDRESS
    again = await flood(floods[0])
    await _drop(floods[0])
    assert again == [b"served"] * STREAMS_OF_ONE


async def _drop(streams: StreamFlood) -> None:
    """End a flood, and wait until its transports are closed."""
    writers = [writer for _, writer in streams.opened]
    streams.let_go()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def test_sybils_that_name_only_each_other_do_not_end_a_search(network: Network, tmp_path: Path) -> None:
    """Five with chosen ids around a key, as many as stock hivemind has replicas, hold five of its eight places."""
    key = fresh("attacks/surrounded")
    identities = list(
        itertools.islice(ground_identities(key, min(distance(server.peer_id, key) for server in network.servers)), 5)
    )
    answers = (Answer.NOTHING, Answer.GARBAGE, Answer.EMPTY_FOREVER)
    async with sybils(identities, (await tcp_address(network.bootstrap),), tmp_path, answers) as hostile:
        for mesh in hostile:  # everybody knows them
            for server in (*network.servers, network.client):
                await protocol_of(server).greet(PeerID.from_base58(mesh.peer_id))
        alice = network.alice
        assert await alice.announce(plain_record(alice.peer_id, key)) > len(hostile)
        assert await found_by(network.client, key) == {alice.peer_id: 1}


async def test_a_sybil_lies_about_what_it_keeps(network: Network, tmp_path: Path) -> None:
    """That is what the look-ups above must cope with: it says yes to a store and finds nothing."""
    key = fresh("attacks/liar")
    identities = list(itertools.islice(ground_identities(key, 2**160), 1))
    bootstrap = (await tcp_address(network.bootstrap),)
    async with sybils(identities, bootstrap, tmp_path, (Answer.EMPTY_FOREVER,)) as (liar,):
        bob = network.bob
        record = plain_record(bob.peer_id, key)
        assert await store_at(bob, liar, [(key, record.value)]) == [True]
        replies = await protocol_of(bob).call_find(PeerID.from_base58(liar.peer_id), [dht_id(key_id_of(key))])
        assert replies is not None
        (reply,) = replies.values()
        assert (reply.entries, len(reply.neighbours)) == ([], 1)


async def test_dead_nodes_nearest_to_a_key_hide_nobody(network: Network, tmp_path: Path) -> None:
    """Whoever fills a routing table with ids near a key and leaves but one takes no places with them."""
    key, alice = fresh("attacks/deserted"), network.alice
    await alice.announce(plain_record(alice.peer_id, key))
    nearest = min(distance(server.peer_id, key) for server in network.servers)
    left, *gone = itertools.islice(ground_identities(key, nearest), BUCKET_SIZE)
    bootstrap = (await tcp_address(network.bootstrap),)
    protocol = protocol_of(network.client)
    async with sybils([left], bootstrap, tmp_path, (Answer.NOTHING,)):
        for identity in (left, *gone):
            peer = PeerID.from_base58(identity.peer_id)
            await protocol.update_routing_table(own_node_id(peer), peer)
        assert await found_by(network.client, key) == {alice.peer_id: 1}

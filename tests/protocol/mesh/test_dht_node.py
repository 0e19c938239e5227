import itertools
import math
import time
from typing import Any

import msgpack
import pytest
import pytest_asyncio
from gpunode_protocol.mesh import _hivemind_link
from gpunode_protocol.mesh._dht_node import MAX_REMEMBERED_KEYS, REPLICA_MEMORY_S, RecordNode, ReplicaMemory
from gpunode_protocol.mesh._dht_protocol import RecordProtocol, dht_id
from gpunode_protocol.mesh._hivemind import HivemindMesh
from gpunode_protocol.mesh._hivemind_api import P2PContext, PeerID, dht_pb2
from gpunode_protocol.mesh.record_store import StoredRecord
from gpunode_protocol.mesh.records import key_id_of, node_id_of, pack_value

from tests.protocol.mesh.conftest import MeshFactory, Network, fresh, link_of, tcp_address
from tests.protocol.mesh.plain_records import plain_record, plain_value

pytestmark = pytest.mark.asyncio(loop_scope="session")


def node_of(mesh: HivemindMesh) -> RecordNode:
    """Return the DHT node of a running mesh."""
    return link_of(mesh).node


def key_nearest_to(mesh: HivemindMesh, others: tuple[HivemindMesh, ...], prefix: str) -> str:
    """Return a key to which ``mesh`` is nearer than the others: what an attacker would aim for."""

    def distance(peer_id: str, key: str) -> int:
        return int.from_bytes(node_id_of(peer_id), "big") ^ int.from_bytes(key_id_of(key), "big")

    keys = (f"{prefix}{number}" for number in itertools.count())
    return next(
        key for key in keys if all(distance(mesh.peer_id, key) < distance(other.peer_id, key) for other in others)
    )


class HostileProtocol(RecordProtocol):
    """Accepts everything and answers look-ups with what the test sets."""

    _rpc_handlers = None
    _stub_type = None
    answer: Any = None

    async def rpc_store(self, request: dht_pb2.StoreRequest, context: P2PContext) -> dht_pb2.StoreResponse:  # noqa: ARG002 -- hivemind's signature
        """Say yes."""
        return dht_pb2.StoreResponse(peer=self.node_info, store_ok=[True] * len(request.keys))

    async def rpc_find(self, request: dht_pb2.FindRequest, context: P2PContext) -> dht_pb2.FindResponse:  # noqa: ARG002 -- hivemind's signature
        """Answer as set, without neighbours."""
        fields = type(self).answer
        return dht_pb2.FindResponse(peer=self.node_info, results=[dht_pb2.FindResult(**fields) for _ in request.keys])


@pytest_asyncio.fixture(loop_scope="session")
async def hostile(network: Network, make_mesh: MeshFactory, monkeypatch: pytest.MonkeyPatch) -> HivemindMesh:
    """A hostile server in the shared network."""
    monkeypatch.setattr(_hivemind_link, "RecordProtocol", HostileProtocol)
    monkeypatch.setattr(HostileProtocol, "answer", {"type": dht_pb2.NOT_FOUND})
    mesh = await make_mesh("hostile", bootstrap=(await tcp_address(network.bootstrap),), quic=False)
    for server in network.servers:
        assert node_of(server).protocol.routing_table.get(peer_id=PeerID.from_base58(mesh.peer_id)) is not None
    return mesh


def entry(key: str, peer_id: str, sequence: int, lifetime_s: int = 100, **note: str) -> list[Any]:
    """Return one entry of a reply."""
    expires_at = int(time.time()) + lifetime_s
    return [peer_id, pack_value(key, plain_value(sequence, expires_at, **note)), expires_at]


def dictionary(entries: list[list[Any]]) -> dict[str, Any]:
    """Return a find result that claims to last for ever."""
    return {"type": dht_pb2.FOUND_DICTIONARY, "value": msgpack.packb(entries), "expiration_time": math.inf}


async def announce_honestly(network: Network, key: str, sequence: int = 5) -> set[str]:
    """Announce a key at every server; return who did."""
    for mesh in network.servers:
        await mesh.announce(plain_record(mesh.peer_id, key, sequence))
    return {mesh.peer_id for mesh in network.servers}


@pytest.mark.parametrize(
    "answer",
    [
        dictionary([]),
        {"type": dht_pb2.FOUND_REGULAR, "value": b"plain", "expiration_time": math.inf},
        {"type": dht_pb2.FOUND_DICTIONARY, "value": b"\xc1", "expiration_time": math.inf},
        {"type": dht_pb2.NOT_FOUND, "expiration_time": math.inf},
    ],
    ids=["empty dictionary", "plain value", "garbage", "not found"],
)
async def test_nearest_server_cannot_end_a_search(network: Network, hostile: HivemindMesh, answer: Any) -> None:
    """The server nearest to the key answers with nothing that lasts for ever; everyone is found all the same."""
    key = key_nearest_to(hostile, network.servers, "ended")
    honest = await announce_honestly(network, key)
    HostileProtocol.answer = answer
    found = await network.client.find(key)
    assert {record.peer_id for record in found.records} == honest
    assert found.replicas_answered == len(network.servers) + 1


async def test_nearest_server_cannot_poison_a_dictionary(network: Network, hostile: HivemindMesh) -> None:
    """Long-lived, forged and replayed entries are dropped singly; the honest ones stay, in their newest form."""
    key = key_nearest_to(hostile, network.servers, "poisoned")
    honest = await announce_honestly(network, key)
    alice = network.alice.peer_id
    HostileProtocol.answer = dictionary(
        [
            entry(key, network.bob.peer_id, 99, lifetime_s=10 * 365 * 86_400),
            entry("another key", network.bob.peer_id, 99),
            entry(key, alice, 4),
            ["forbidden", *entry(key, alice, 9)[1:]],
            ["broken"],
        ]
    )
    found = await network.client.find(key)
    assert {record.peer_id: record.sequence for record in found.records} == dict.fromkeys(honest, 5)
    assert dict(found.dropped) == {"expires_too_late": 1, "wrong_key": 1, "forbidden": 1}


async def test_nested_extensions_over_the_wire_kill_nobody(network: Network, hostile: HivemindMesh) -> None:
    """The 1.9 KB that kill a stock node: as a reply, as value, as subkey and as dictionary."""
    nested = msgpack.packb([])
    for _ in range(400):
        nested = msgpack.packb([msgpack.ExtType(0x40, nested)])
    key = key_nearest_to(hostile, network.servers, "nested")
    honest = await announce_honestly(network, key)
    HostileProtocol.answer = {"type": dht_pb2.FOUND_DICTIONARY, "value": nested, "expiration_time": math.inf}
    assert {record.peer_id for record in (await network.client.find(key)).records} == honest
    target = PeerID.from_base58(network.alice.peer_id)
    protocol = node_of(hostile).protocol
    for subkey, value in ((b"\xa1x", nested), (nested, b"x"), (b"", nested)):
        request = dht_pb2.StoreRequest(
            keys=[key_id_of(key)],
            subkeys=[subkey],
            values=[value],
            expiration_time=[time.time() + 60],
            in_cache=[False],
        )
        response = await protocol._call("rpc_store", target, request)
        assert list(response.store_ok) == [False]
    assert {record.peer_id for record in (await network.alice.find(key)).records} == honest


async def test_foreign_record_is_not_stored_over_the_wire(network: Network, hostile: HivemindMesh) -> None:
    """libp2p proves the sender, so nobody stores, replays or overwrites under another's name."""
    key = fresh("foreign")
    await announce_honestly(network, key)
    alice = network.alice.peer_id
    expires_at = int(time.time()) + 170
    packed = pack_value(key, plain_value(9, expires_at, tombstone=True))
    kept = await node_of(hostile).protocol.call_store(
        PeerID.from_base58(network.bob.peer_id), [dht_id(key_id_of(key))], [packed], [float(expires_at)], [alice]
    )
    assert kept == [False]
    assert alice in {record.peer_id for record in (await network.client.find(key)).records}


async def test_replicas_are_remembered_and_refreshed_directly(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second announcement of a key asks nobody for directions; when replicas fail, they are looked up again."""
    node, alice, key = node_of(network.alice), network.alice, fresh("remembered")
    lookups: list[bytes] = []
    original = RecordNode.find_nearest

    async def counted(self: RecordNode, target: bytes, deadline_s: float) -> Any:
        lookups.append(target)
        return await original(self, target, deadline_s)

    monkeypatch.setattr(RecordNode, "find_nearest", counted)
    key_id = key_id_of(key)
    for sequence in (1, 2):
        assert await alice.announce(plain_record(alice.peer_id, key, sequence)) == len(network.servers)
    assert lookups.count(key_id) == 1
    gone = [PeerID(bytes.fromhex("002408011220") + bytes([number]) * 32) for number in (1, 2)]
    node._memory.learn(key_id, gone, time.monotonic())
    assert await alice.announce(plain_record(alice.peer_id, key, 3)) == len(network.servers)
    assert lookups.count(key_id) == 2


async def test_memory_of_replicas_ends_and_is_bounded() -> None:
    """After 10 minutes a key is looked up again; the oldest keys give way."""
    memory, peers = ReplicaMemory(), (PeerID(b"peer"),)
    memory.learn(b"key", peers, 0.0)
    assert memory.recall(b"key", REPLICA_MEMORY_S - 1) == peers
    assert memory.recall(b"key", REPLICA_MEMORY_S) == ()
    for number in range(MAX_REMEMBERED_KEYS):
        memory.learn(number.to_bytes(4, "big"), peers, 0.0)
    assert memory.recall(b"key", 0.0) == ()


async def test_stock_algorithms_are_closed(network: Network) -> None:
    """hivemind's own get and store would bring its traps back."""
    node = node_of(network.alice)
    for call in (node.get("key"), node.store("key", 1, time.time() + 60), node.find_nearest_nodes([node.node_id])):
        with pytest.raises(TypeError):
            await call


async def test_benched_peers_are_asked_when_there_is_nobody_else(network: Network) -> None:
    """If failures bench everyone, the bench is ignored."""
    protocol = node_of(network.client).protocol
    key = fresh("benched")
    await network.alice.announce(plain_record(network.alice.peer_id, key))
    for server in network.servers:
        protocol.bench.failed(server.peer_id, time.monotonic())
    assert len((await network.client.find(key)).records) == 1


async def test_own_storage_counts_as_a_replica(network: Network) -> None:
    """A server that holds the key itself finds it without the others."""
    key = fresh("own")
    record = plain_record(network.alice.peer_id, key)
    stored = StoredRecord(
        peer_id=record.subkey, sequence=1, expires_at=record.expires_at, packed=pack_value(key, record.value)
    )
    node_of(network.alice).protocol.records.put(key_id_of(key), stored)
    assert len((await network.alice.find(key)).records) == 1

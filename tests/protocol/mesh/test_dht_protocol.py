import asyncio
import math
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.mesh import _dht_protocol
from gpunode_protocol.mesh._dht_protocol import (
    BUCKET_SIZE,
    MAX_KEYS_PER_FIND,
    RECORDS_BURST,
    RecordProtocol,
    dht_id,
    own_node_id,
)
from gpunode_protocol.mesh._hivemind_api import DHTID, P2PContext, P2PDaemonError, PeerID, dht_pb2
from gpunode_protocol.mesh.record_merge import unpack_entries
from gpunode_protocol.mesh.record_store import RecordStore, StoreLimits
from gpunode_protocol.mesh.records import key_id_of, pack_value

from tests.protocol.mesh.plain_records import PlainValidator, plain_value

KEY = "gpunode/1/topic"


def peer(number: int) -> PeerID:
    """Return a peer id by number."""
    return PeerID.from_base58(Identity.from_seed(number.to_bytes(32, "big")).peer_id)


class FakeP2P:
    """A peer id without a daemon; calls fail unless a reply is set."""

    def __init__(self) -> None:
        self.peer_id = peer(0)
        self.reply: Any = None
        self.handles: list[str] = []

    async def add_protobuf_handler(self, name: str, *_arguments: Any, **_options: Any) -> None:
        """Remember the name."""
        self.handles.append(name)

    async def call_protobuf_handler(self, *_arguments: Any) -> Any:
        """Answer as set."""
        if self.reply is None:
            raise P2PDaemonError("unreachable")
        return self.reply


async def make_protocol(*, client_mode: bool = False, limits: StoreLimits | None = None) -> RecordProtocol:
    """Return a protocol without a daemon."""
    return await RecordProtocol.create_for(
        FakeP2P(),
        store=RecordStore(limits),
        validator=PlainValidator(),
        rejected=Counter(),
        client_mode=client_mode,
        rpc_timeout_s=1.0,
    )


def context(sender: PeerID) -> P2PContext:
    """Return what hivemind tells about a request's sender."""
    return P2PContext("handle", peer(0), sender)


def store_request(sender: PeerID, *, sequence: int = 1, lifetime_s: float = 100, **changes: Any) -> Any:
    """Return a request to store one valid record, with some columns replaced."""
    expires_at = int(time.time() + lifetime_s) if math.isfinite(lifetime_s) else 0
    packed = pack_value(KEY, plain_value(sequence, expires_at))
    columns = {
        "keys": [key_id_of(KEY)],
        "subkeys": [sender.to_base58().encode()],
        "values": [packed],
        "expiration_time": [float(expires_at)],
        "in_cache": [False],
    }
    return dht_pb2.StoreRequest(**{**columns, **changes})


async def stored(protocol: RecordProtocol) -> list[tuple[str, int]]:
    """Return peer and sequence of what a look-up of KEY is answered with."""
    response = await protocol.rpc_find(dht_pb2.FindRequest(keys=[key_id_of(KEY)]), context(peer(99)))
    if response.results[0].type == dht_pb2.NOT_FOUND:
        return []
    entries = unpack_entries(response.results[0].value)
    return sorted((entry[0], int(entry[1].split(b"|")[0].split(b"topic")[1])) for entry in entries)


async def test_valid_record_is_stored_and_found() -> None:
    """The plain case."""
    protocol = await make_protocol()
    response = await protocol.rpc_store(store_request(peer(1)), context(peer(1)))
    assert list(response.store_ok) == [True]
    assert await stored(protocol) == [(peer(1).to_base58(), 1)]


async def test_handles_have_names_of_our_own() -> None:
    """Stock hivemind nodes are neither called nor answered."""
    protocol = await make_protocol()
    assert sorted(protocol.p2p.handles) == ["/gpunode/1/dht/find", "/gpunode/1/dht/ping", "/gpunode/1/dht/store"]


async def test_client_answers_nothing_and_names_no_node() -> None:
    """A client cannot get into routing tables."""
    protocol = await make_protocol(client_mode=True)
    assert (protocol.p2p.handles, protocol.node_info.node_id) == ([], b"")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"subkeys": [b""]}, None),  # hivemind's mark of a whole dictionary
        ({"subkeys": [b"\xc0"]}, None),  # hivemind's mark of a plain value
        ({"subkeys": [peer(2).to_base58().encode()]}, None),
        ({"in_cache": [True]}, None),
        ({"keys": [key_id_of("other")]}, "wrong_key"),
        ({"keys": [b"short"]}, "malformed"),
        ({"values": [b""]}, "malformed"),
        ({"values": [bytes(5_000)]}, "too_large"),
        ({"values": [pack_value(KEY, b"not a record")]}, "malformed"),
        ({"expiration_time": [math.inf]}, "expires_too_late"),
        ({"expiration_time": [math.nan]}, "expired"),
        ({"expiration_time": [0.0]}, "expired"),
        ({"lifetime_s": 10 * 365 * 86_400}, "expires_too_late"),
        ({"lifetime_s": -5}, "expired"),
    ],
)
async def test_bad_record_changes_nothing(changes: dict[str, Any], reason: str | None) -> None:
    """Foreign, whole-dictionary, plain, cached, long-lived, oversized: the owner's record stays."""
    protocol = await make_protocol()
    await protocol.rpc_store(store_request(peer(1), sequence=3), context(peer(1)))
    request = store_request(peer(1), **{"sequence": 4, **changes})
    response = await protocol.rpc_store(request, context(peer(1)))
    assert list(response.store_ok) == [False]
    assert await stored(protocol) == [(peer(1).to_base58(), 3)]
    assert dict(protocol.rejected) == ({reason: 1} if reason else {})


async def test_nobody_stores_under_anothers_name() -> None:
    """A victim's older record cannot be replayed by someone else, nor its newer one overwritten."""
    protocol = await make_protocol()
    victim, thief = peer(1), peer(2)
    await protocol.rpc_store(store_request(victim, sequence=5), context(victim))
    for sequence in (4, 6):
        response = await protocol.rpc_store(store_request(victim, sequence=sequence), context(thief))
        assert list(response.store_ok) == [False]
    assert await stored(protocol) == [(victim.to_base58(), 5)]


async def test_bad_record_does_not_hide_its_neighbour() -> None:
    """Each record of a request is judged singly."""
    protocol = await make_protocol()
    good, bad = store_request(peer(1)), store_request(peer(1), lifetime_s=10_000)
    for column in ("keys", "subkeys", "values", "expiration_time", "in_cache"):
        getattr(bad, column).extend(getattr(good, column))
    response = await protocol.rpc_store(bad, context(peer(1)))
    assert list(response.store_ok) == [False, True]


async def test_columns_of_different_length_are_refused() -> None:
    """hivemind asserts, but not for all columns."""
    protocol = await make_protocol()
    response = await protocol.rpc_store(store_request(peer(1), subkeys=[]), context(peer(1)))
    assert list(response.store_ok) == []
    assert protocol.rejected["malformed"] == 1


async def test_one_peer_cannot_fill_the_store() -> None:
    """Neither by many keys nor by many requests."""
    protocol = await make_protocol()
    accepted = 0
    for number in range(int(RECORDS_BURST) + 20):
        key = f"topic{number}"
        expires_at = int(time.time()) + 100
        request = store_request(peer(1), keys=[key_id_of(key)], values=[pack_value(key, plain_value(1, expires_at))])
        response = await protocol.rpc_store(request, context(peer(1)))
        accepted += sum(response.store_ok)
    assert accepted == len(protocol.records) == StoreLimits().records_per_peer
    assert protocol.rejected["rate_limited"] > 0


async def test_find_is_bounded() -> None:
    """Too many keys, keys of the wrong size, and too many requests get an empty answer."""
    protocol = await make_protocol()
    key = key_id_of(KEY)
    for keys in ([key] * (MAX_KEYS_PER_FIND + 1), [b"short"]):
        response = await protocol.rpc_find(dht_pb2.FindRequest(keys=keys), context(peer(1)))
        assert list(response.results) == []
    answered = 0
    for _ in range(300):
        answered += len((await protocol.rpc_find(dht_pb2.FindRequest(keys=[key]), context(peer(2)))).results)
    assert answered < 250


async def test_reply_fits_the_message_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key whose records do not fit any more is answered without them instead of hanging the caller."""
    protocol = await make_protocol()
    await protocol.rpc_store(store_request(peer(1)), context(peer(1)))
    monkeypatch.setattr(_dht_protocol, "MAX_REPLY_BYTES", 10)
    assert await stored(protocol) == []


async def test_node_id_must_follow_from_the_peer_id() -> None:
    """Chosen ids, malformed ids and our own id do not get into the routing table."""
    protocol = await make_protocol()
    for node_id in (own_node_id(peer(2)).to_bytes(), key_id_of(KEY), b"short", b"", protocol.node_id.to_bytes()):
        request = dht_pb2.PingRequest(peer=dht_pb2.NodeInfo(node_id=node_id))
        await protocol.rpc_ping(request, context(peer(1)))
    assert protocol.known_nodes(protocol.node_id, 10) == []
    request = dht_pb2.PingRequest(peer=dht_pb2.NodeInfo(node_id=own_node_id(peer(1)).to_bytes()))
    await protocol.rpc_ping(request, context(peer(1)))
    assert [node for _, node in protocol.known_nodes(protocol.node_id, 10)] == [peer(1)]


async def test_records_are_not_handed_to_new_nodes() -> None:
    """Meeting a node costs no request; stock hivemind sends it what we store, unchecked."""
    protocol = await make_protocol()
    await protocol.rpc_store(store_request(peer(1)), context(peer(1)))
    for number in range(2, 10):
        await protocol.update_routing_table(own_node_id(peer(number)), peer(number))
    assert not protocol._tasks


async def test_routing_table_is_bounded() -> None:
    """Spare nodes of a bucket are limited; hivemind keeps any number."""
    protocol = await make_protocol()
    for number in range(1, 400):
        await protocol.update_routing_table(own_node_id(peer(number)), peer(number))
    for bucket in protocol.routing_table.buckets:
        assert len(bucket.replacement_nodes) <= BUCKET_SIZE
    counted = sum(
        len(bucket.nodes_to_peer_id) + len(bucket.replacement_nodes) for bucket in protocol.routing_table.buckets
    )
    assert counted == len(protocol.routing_table.uid_to_peer_id)
    await protocol.shutdown()


async def test_silent_peer_leaves_the_routing_table_and_sits_out() -> None:
    """A failed request has consequences; an answer ends them."""
    protocol = await make_protocol()
    await protocol.update_routing_table(own_node_id(peer(1)), peer(1))
    assert await protocol.call_find(peer(1), [dht_id(key_id_of(KEY))]) is None
    assert protocol.known_nodes(protocol.node_id, 10) == []
    assert protocol.bench.is_benched(peer(1).to_base58(), time.monotonic())
    await protocol.rpc_ping(dht_pb2.PingRequest(), context(peer(1)))
    assert not protocol.bench.is_benched(peer(1).to_base58(), time.monotonic())


def result_with(pairs: list[tuple[bytes, bytes]], **fields: Any) -> Any:
    """Return a find reply with these neighbours."""
    return dht_pb2.FindResponse(
        results=[
            dht_pb2.FindResult(
                nearest_node_ids=[node for node, _ in pairs],
                nearest_peer_ids=[peer_id for _, peer_id in pairs],
                **fields,
            )
        ]
    )


async def find(protocol: RecordProtocol, reply: Any) -> Any:
    """Ask for KEY, with a given reply."""
    protocol.p2p.reply = reply
    key: DHTID = dht_id(key_id_of(KEY))
    return (await protocol.call_find(peer(1), [key]) or {}).get(key)


async def test_invented_neighbours_are_ignored() -> None:
    """Ids that do not belong to their peer, oversized peer ids, ourselves: left out; at most 20 are read."""
    protocol = await make_protocol()
    own = [(own_node_id(peer(number)).to_bytes(), peer(number).to_bytes()) for number in range(40)]
    chosen = (key_id_of(KEY), peer(50).to_bytes())
    oversized = (bytes(20), bytes(1_000_000))
    found = await find(protocol, result_with([chosen, oversized, *own]))
    assert [node for _, node in found.neighbours] == [peer(number) for number in range(1, 18)]


async def test_malformed_replies_are_no_answer_or_empty() -> None:
    """Garbage in a reply neither raises nor hides the neighbours."""
    protocol = await make_protocol()
    neighbour = [(own_node_id(peer(3)).to_bytes(), peer(3).to_bytes())]
    garbage = await find(protocol, result_with(neighbour, type=dht_pb2.FOUND_DICTIONARY, value=b"\xc1"))
    plain = await find(protocol, result_with(neighbour, type=dht_pb2.FOUND_REGULAR, value=b"plain"))
    assert [(reply.entries, len(reply.neighbours)) for reply in (garbage, plain)] == [([], 1), ([], 1)]
    assert await find(protocol, dht_pb2.FindResponse()) is None


async def test_clock_offset_is_measured() -> None:
    """A ping tells by how much our clock is ahead; a peer without a clock tells nothing."""
    protocol = await make_protocol()
    protocol.p2p.reply = dht_pb2.PingResponse(dht_time=time.time() - 42)
    offset_s = await protocol.greet(peer(1))
    assert offset_s == pytest.approx(42, abs=1)
    protocol.p2p.reply = dht_pb2.PingResponse()
    assert await protocol.greet(peer(1)) is None


async def test_hanging_peer_costs_the_time_limit_only() -> None:
    """Calls that get no answer end by themselves."""
    protocol = await make_protocol()

    async def hang(*_: Any) -> None:
        raise TimeoutError

    protocol.p2p.call_protobuf_handler = hang
    assert await protocol.call_store(peer(1), [dht_id(key_id_of(KEY))], [b""], [1.0]) is None


async def test_peer_that_was_waited_for_in_vain_sits_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller may end the waiting; one that ends it at once says nothing of the peer."""
    protocol = await make_protocol()
    waiting = asyncio.Event()

    async def hang(*_: Any) -> None:
        waiting.set()
        await asyncio.Event().wait()

    protocol.p2p.call_protobuf_handler = hang
    for stalled_after_s, benched in ((3_600.0, False), (0.0, True)):
        monkeypatch.setattr(_dht_protocol, "STALLED_S", stalled_after_s)
        waiting.clear()
        call = asyncio.create_task(protocol.greet(peer(1)))
        await waiting.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert protocol.bench.is_benched(peer(1).to_base58(), time.monotonic()) is benched


def test_own_id_is_the_peers() -> None:
    """Peer ids are typed text elsewhere; both lead to the same node id."""
    assert own_node_id(PeerID.from_base58(PeerId(peer(1).to_base58()))) == own_node_id(peer(1))


def test_stubs_are_made_with_the_class_for_threads_to_share() -> None:
    """Meshes that start at once in several threads of a process find the stubs whole."""
    code = "from gpunode_protocol.mesh._dht_protocol import RecordProtocol as P; print(P._stub_type.__name__)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "RecordProtocolStub"

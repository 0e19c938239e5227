"""The DHT's three requests (ping, store, find) with our own storage and our own reading of replies.

A subclass of hivemind's ``DHTProtocol``: its routing table, protobuf messages and transport stay; whatever decides
what is stored, believed or handed on is replaced, because stock nodes can be overwritten, eclipsed and filled up by
anyone (facts, trap 6). On the wire, in hivemind's messages:

* handles are ``/gpunode/1/dht/ping``, ``…/store`` and ``…/find``, so stock nodes are not spoken to;
* a node's id follows from its peer id (``node_id_of``); others are ignored;
* store: key = ``key_id_of(text)``, subkey = the sender's peer id as text, value = ``pack_value(text, value)``,
  expiration_time = the signed expiry; plain values, whole dictionaries and the cache are refused;
* find: a result of type FOUND_DICTIONARY holds ``pack_entries(…)``; its own expiration_time is ignored.

Records are not handed to newly met nodes: they live minutes, and their owners announce them again.
"""

import asyncio
import functools
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.mesh._hivemind_api import (
    DHTID,
    P2P,
    DHTLocalStorage,
    DHTProtocol,
    P2PContext,
    P2PDaemonError,
    P2PHandlerError,
    PeerID,
    RoutingTable,
    dht_pb2,
)
from gpunode_protocol.mesh.errors import RecordRejected
from gpunode_protocol.mesh.lookup import MAX_NEIGHBOURS, STALLED_S, WIDTH
from gpunode_protocol.mesh.rate_limit import PeerBench, PeerRateLimit
from gpunode_protocol.mesh.record_merge import Entry, pack_entries, unpack_entries
from gpunode_protocol.mesh.record_store import RecordStore, StoredRecord
from gpunode_protocol.mesh.records import KEY_ID_BYTES, RecordValidator, check_record, node_id_of

_log = logging.getLogger(__name__)

BUCKET_SIZE = 20
DEPTH_MODULO = 5
REPLICAS = WIDTH
"""As many as a look-up asks: who would hide a record must hold all of a key's places, not most of them."""
MAX_CALLS_IN_FLIGHT = 32
MAX_RECORDS_PER_STORE = 64
MAX_KEYS_PER_FIND = 4
MAX_REPLY_BYTES = 200 * 1024
"""Of all values in one find reply; a key that does not fit any more is answered as not found."""
RECORDS_PER_S, RECORDS_BURST = 8.0, 256.0
"""Records that one peer may store: 48 keys a minute are usual."""
FINDS_PER_S, FINDS_BURST = 20.0, 200.0

_REMEMBERED_PLACES = 4096
_PEER_ID_BYTES = 38  # ed25519; the length is checked before base58, whose cost is quadratic
_CALL_ERRORS = (P2PDaemonError, P2PHandlerError, OSError, TimeoutError, ValueError, AssertionError, GpunodeError)


@dataclass(frozen=True, slots=True)
class FindReply:
    """What one node says about one key: its entries, unchecked, and nodes that may be nearer to it."""

    entries: list[Entry]
    neighbours: list[tuple[int, PeerID]]


def dht_id(raw: bytes) -> DHTID:
    """Return 20 bytes as hivemind's id."""
    return DHTID.from_bytes(raw)


def peer_text(peer: PeerID) -> str:
    """Return a peer id as text."""
    text: str = peer.to_base58()
    return text


def own_node_id(peer: PeerID) -> DHTID:
    """Return the DHT id that a peer must have."""
    return _place_of(peer.to_bytes())[1]


@functools.lru_cache(maxsize=_REMEMBERED_PLACES)
def _place_of(peer_bytes: bytes) -> tuple[PeerID, DHTID]:
    """Return a peer and its DHT id. Remembered: base58 costs 50 µs, and each reply names 20 neighbours."""
    peer = PeerID(peer_bytes)
    return peer, dht_id(node_id_of(peer_text(peer)))


class RecordProtocol(DHTProtocol):  # type: ignore[misc]  # -- hivemind has no type annotations
    """hivemind's protocol over validated, bounded records."""

    _rpc_handlers = None  # hivemind caches handlers on the class: a subclass must not inherit its parent's
    _stub_type = None

    _tasks: set[asyncio.Task[Any]]

    @classmethod
    async def create_for(
        cls,
        p2p: P2P,
        *,
        store: RecordStore,
        validator: RecordValidator,
        rejected: Counter[str],
        client_mode: bool,
        rpc_timeout_s: float,
    ) -> "RecordProtocol":
        """Make the protocol and, unless in client mode, begin to answer requests; ``rejected`` counts by reason."""
        self = cls(_initialized_with_create=True)
        self.p2p, self.node_id = p2p, own_node_id(p2p.peer_id)
        self.bucket_size, self.num_replicas, self.wait_timeout = BUCKET_SIZE, REPLICAS, rpc_timeout_s
        self.storage, self.cache = DHTLocalStorage(), DHTLocalStorage()  # hivemind's own stay empty
        self.routing_table = RoutingTable(self.node_id, BUCKET_SIZE, DEPTH_MODULO)
        self.rpc_semaphore = asyncio.Semaphore(MAX_CALLS_IN_FLIGHT)
        self.client_mode, self.record_validator, self.authorizer = client_mode, None, None
        self.records, self.validator = store, validator
        self.rejected = rejected
        self.bench = PeerBench()
        self._store_rate = PeerRateLimit(rate_per_s=RECORDS_PER_S, burst=RECORDS_BURST)
        self._find_rate = PeerRateLimit(rate_per_s=FINDS_PER_S, burst=FINDS_BURST)
        self._tasks = set()
        # peers without a node id are not added to anyone's routing table
        self.node_info = dht_pb2.NodeInfo(node_id=b"" if client_mode else self.node_id.to_bytes())
        if not client_mode:
            await self.add_p2p_handlers(p2p)
        return self

    @classmethod
    def _get_handle_name(cls, namespace: str | None, method_name: str) -> str:  # noqa: ARG003 -- hivemind's signature
        return f"/gpunode/1/dht/{method_name.removeprefix('rpc_')}"

    async def shutdown(self) -> None:
        """End what runs in the background; the handlers go with p2pd's connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Outgoing requests. None = no usable answer.

    async def greet(self, peer: PeerID) -> float | None:
        """Ping a peer, and get to know it; return the seconds by which our clock is ahead of its clock."""
        sent_at = time.time()
        response = await self._call("rpc_ping", peer, dht_pb2.PingRequest(peer=self.node_info))
        if response is None or not response.dht_time > 0:
            return None
        return (sent_at + time.time()) / 2 - float(response.dht_time)

    async def call_ping(self, peer: PeerID, validate: bool = False, strict: bool = True) -> DHTID | None:  # noqa: ARG002 -- hivemind's signature
        """Check whether a peer in the routing table is alive."""
        answered = await self.greet(peer) is not None
        return self.routing_table.get(peer_id=peer) if answered else None

    async def call_find(self, peer: PeerID, keys: Sequence[DHTID]) -> dict[DHTID, FindReply] | None:
        """Ask a peer for the records of some keys (at most 4) and for nearer nodes."""
        request = dht_pb2.FindRequest(keys=[key.to_bytes() for key in keys], peer=self.node_info)
        response = await self._call("rpc_find", peer, request)
        if response is None or len(response.results) != len(keys):
            return None
        return {key: self._read_result(result) for key, result in zip(keys, response.results, strict=True)}

    async def call_store(
        self,
        peer: PeerID,
        keys: Sequence[DHTID],
        values: Sequence[bytes],
        expiration_time: Sequence[float],
        subkeys: Sequence[str] | None = None,
        in_cache: None = None,  # noqa: ARG002 -- hivemind's signature
    ) -> list[bool] | None:
        """Ask a peer to store our own records; return which of them it keeps."""
        own = peer_text(self.p2p.peer_id)
        request = dht_pb2.StoreRequest(
            keys=[key.to_bytes() for key in keys],
            subkeys=[subkey.encode() for subkey in subkeys or [own] * len(keys)],
            values=values,
            expiration_time=expiration_time,
            in_cache=[False] * len(keys),
            peer=self.node_info,
        )
        response = await self._call("rpc_store", peer, request)
        return None if response is None else list(response.store_ok)

    # Incoming requests.

    async def rpc_ping(self, request: dht_pb2.PingRequest, context: P2PContext) -> dht_pb2.PingResponse:
        """Answer with our clock; of whoever asks more often than it may, nothing is noted."""
        if self._find_rate.allow(peer_text(context.remote_id), time.monotonic()):
            await self._meet(request.peer, context.remote_id)
        return dht_pb2.PingResponse(peer=self.node_info, dht_time=time.time(), available=False)

    async def rpc_store(self, request: dht_pb2.StoreRequest, context: P2PContext) -> dht_pb2.StoreResponse:
        """Keep those of the sender's own records that are valid, each judged singly."""
        response = dht_pb2.StoreResponse(peer=self.node_info)
        sender = peer_text(context.remote_id)
        count = len(request.keys)
        columns = (request.subkeys, request.values, request.expiration_time, request.in_cache)
        if count > MAX_RECORDS_PER_STORE or any(len(column) != count for column in columns):
            self.rejected["malformed"] += 1
            return response
        if not self._store_rate.allow(sender, time.monotonic(), count):
            self.rejected["rate_limited"] += count
            return response
        await self._meet(request.peer, context.remote_id)
        for key, subkey, packed, expires_at, in_cache in zip(request.keys, *columns, strict=True):
            kept = not in_cache and subkey == sender.encode() and self.keep(key, sender, packed, expires_at)
            response.store_ok.append(kept)
        return response

    def keep(self, key_id: bytes, peer_id: str, packed: bytes, expires_at: float) -> bool:
        """Store a record of ``peer_id`` if it is valid; count the reason if it is not."""
        try:
            if len(key_id) != KEY_ID_BYTES:
                raise RecordRejected("malformed")
            valid = check_record(self.validator, key_id, peer_id, packed, expires_at, time.time())
            record = StoredRecord(
                peer_id=peer_id, sequence=valid.sequence, expires_at=valid.expires_at, packed=bytes(packed)
            )
            self.records.put(key_id, record)
        except RecordRejected as rejected:
            self.rejected[rejected.reason] += 1
            _log.debug("record of %s refused: %s", peer_id, rejected, extra={"event": "record_rejected"})
            return False
        return True

    async def rpc_find(self, request: dht_pb2.FindRequest, context: P2PContext) -> dht_pb2.FindResponse:
        """Answer with the records of each key and the nearest nodes we know."""
        response = dht_pb2.FindResponse(peer=self.node_info)
        allowed = self._find_rate.allow(peer_text(context.remote_id), time.monotonic())
        if not allowed or len(request.keys) > MAX_KEYS_PER_FIND:
            return response
        await self._meet(request.peer, context.remote_id)
        room_bytes = MAX_REPLY_BYTES
        for key in request.keys:
            if len(key) != KEY_ID_BYTES:
                return dht_pb2.FindResponse(peer=self.node_info)
            result = self._result_of(key, own_node_id(context.remote_id), room_bytes)
            room_bytes -= len(result.value)
            response.results.append(result)
        return response

    # The routing table.

    async def update_routing_table(self, node_id: DHTID | None, peer_id: PeerID, responded: bool = True) -> None:
        """Note that a node answered (or asked) or did not answer; hands on no records, unlike hivemind's."""
        if not responded:
            known = self.routing_table.get(peer_id=peer_id)
            if known is not None:
                del self.routing_table[known]
            return
        if node_id is None or node_id != own_node_id(peer_id) or node_id == self.node_id:
            return
        least_recently_seen = self.routing_table.add_or_update_node(node_id, peer_id)
        self._bound_replacements(node_id)
        if least_recently_seen is not None:
            self._in_background(self.call_ping(least_recently_seen[1]))

    def known_nodes(self, key: DHTID, count: int) -> list[tuple[int, PeerID]]:
        """Return the nodes nearest to ``key`` in the routing table, this one excluded."""
        nearest = self.routing_table.get_nearest_neighbors(key, count, exclude=self.node_id)
        return [(int(node_id), peer) for node_id, peer in nearest]

    def _bound_replacements(self, node_id: DHTID) -> None:
        """Keep at most a bucket's size of spare nodes a bucket; hivemind keeps any number."""
        bucket = self.routing_table.buckets[self.routing_table.get_bucket_index(node_id)]
        while len(bucket.replacement_nodes) > BUCKET_SIZE:
            del self.routing_table[next(iter(bucket.replacement_nodes))]

    async def _meet(self, info: dht_pb2.NodeInfo, peer: PeerID) -> None:
        self.bench.succeeded(peer_text(peer))
        if len(info.node_id) == KEY_ID_BYTES:
            await self.update_routing_table(dht_id(info.node_id), peer, responded=True)

    async def _call(self, method: str, peer: PeerID, request: Any) -> Any:
        """Make one request within the time limit; a peer that fails is taken out of the routing table."""
        asked_at_s = time.monotonic()
        try:
            async with self.rpc_semaphore:
                asked_at_s = time.monotonic()
                response = await getattr(self.get_stub(peer), method)(request, timeout=self.wait_timeout)
        except asyncio.CancelledError:
            if time.monotonic() - asked_at_s >= STALLED_S:  # else a silent peer would hold up every look-up anew
                self.bench.failed(peer_text(peer), time.monotonic())
            raise
        except _CALL_ERRORS as error:
            _log.debug("%s to %s failed: %r", method, peer, error, extra={"event": "dht_call_failed"})
            self.bench.failed(peer_text(peer), time.monotonic())
            await self.update_routing_table(None, peer, responded=False)
            return None
        await self._meet(response.peer, peer)
        return response

    def _read_result(self, result: dht_pb2.FindResult) -> FindReply:
        entries: list[Entry] = []
        if result.type == dht_pb2.FOUND_DICTIONARY:
            try:
                entries = unpack_entries(result.value)
            except GpunodeError:
                self.rejected["malformed_reply"] += 1
        return FindReply(entries, list(self._neighbours(result)))

    def _neighbours(self, result: dht_pb2.FindResult) -> Iterable[tuple[int, PeerID]]:
        pairs = zip(result.nearest_node_ids, result.nearest_peer_ids, strict=False)
        for _, (node_id, peer_bytes) in zip(range(MAX_NEIGHBOURS), pairs, strict=False):
            if len(peer_bytes) == _PEER_ID_BYTES:
                peer, place = _place_of(peer_bytes)
                if node_id == place.to_bytes() and peer != self.p2p.peer_id:
                    yield int(place), peer

    def _result_of(self, key: bytes, asker: DHTID, room_bytes: int) -> dht_pb2.FindResult:
        result = dht_pb2.FindResult(type=dht_pb2.NOT_FOUND)
        records = self.records.get(key, time.time())
        if records and sum(len(record.packed) + 80 for record in records) <= room_bytes:
            result.type = dht_pb2.FOUND_DICTIONARY
            result.value = pack_entries(records)
        for node_id, peer in self.routing_table.get_nearest_neighbors(dht_id(key), BUCKET_SIZE, exclude=asker):
            result.nearest_node_ids.append(node_id.to_bytes())
            result.nearest_peer_ids.append(peer.to_bytes())
        return result

    def _in_background(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


# hivemind makes the class of the stubs at first use and without a lock: two meshes in two threads of one process would
# meet it half made
RecordProtocol._collect_rpc_handlers()  # noqa: SLF001 -- hivemind has no public name for it

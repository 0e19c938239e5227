"""The DHT node: hivemind's ``DHTNode`` with look-ups that cannot be ended early and stores that are remembered."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from gpunode_protocol.mesh._dht_protocol import REPLICAS, FindReply, RecordProtocol, dht_id, peer_text
from gpunode_protocol.mesh._hivemind_api import DHTNode, PeerID
from gpunode_protocol.mesh.errors import RecordRejected
from gpunode_protocol.mesh.lookup import MAX_ASKED, Lookup, look_up
from gpunode_protocol.mesh.record_merge import RecordMerge
from gpunode_protocol.mesh.records import DhtRecord, key_id_of, pack_value

REPLICA_MEMORY_S = 600.0
"""Seconds for which a key's replicas are refreshed without looking for nearer ones."""

MAX_REMEMBERED_KEYS = 1024

_STORE_LOOKUP_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class _Replicas:
    peers: tuple[PeerID, ...]
    looked_up_at_s: float  # monotonic


class ReplicaMemory:
    """Which nodes hold a key; outlives a restart of p2pd."""

    def __init__(self) -> None:
        self._of_key: OrderedDict[bytes, _Replicas] = OrderedDict()

    def recall(self, key_id: bytes, now_s: float) -> tuple[PeerID, ...]:
        """Return a key's replicas; empty if they are unknown or due for another look-up."""
        known = self._of_key.get(key_id)
        return known.peers if known and now_s - known.looked_up_at_s < REPLICA_MEMORY_S else ()

    def learn(self, key_id: bytes, peers: Iterable[PeerID], now_s: float) -> None:
        """Remember a key's replicas."""
        self._of_key[key_id] = _Replicas(tuple(peers), now_s)
        self._of_key.move_to_end(key_id)
        while len(self._of_key) > MAX_REMEMBERED_KEYS:
            self._of_key.popitem(last=False)

    def forget(self, key_id: bytes) -> None:
        """Look the key's replicas up at the next announcement."""
        self._of_key.pop(key_id, None)


class RecordNode(DHTNode):  # type: ignore[misc]  # -- hivemind has no type annotations
    """This process's node. hivemind's own ``get`` and ``store`` are closed: they have the traps that this replaces."""

    @classmethod
    def create_for(cls, protocol: RecordProtocol, memory: ReplicaMemory) -> "RecordNode":
        """Make the node of a protocol; it knows nobody yet."""
        self = cls(_initialized_with_create=True)
        self.is_alive = True
        self.protocol, self.p2p, self.peer_id = protocol, protocol.p2p, protocol.p2p.peer_id
        self.node_id, self.num_replicas, self._should_shutdown_p2p = protocol.node_id, REPLICAS, False
        self._memory = memory
        return self

    async def find_nearest_nodes(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Closed; use ``find_nearest``."""
        raise TypeError("Nodes are found by RecordNode.find_nearest.")

    async def store_many(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Closed; use ``announce``."""
        raise TypeError("Records are stored by RecordNode.announce.")

    async def get_many_by_id(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Closed; use ``find``."""
        raise TypeError("Records are found by RecordNode.find.")

    async def find_nearest(self, target: bytes, deadline_s: float) -> Lookup[PeerID]:
        """Look for the nodes nearest to an id, and get to know those on the way."""
        return await self._look_up(target, deadline_s)

    async def find(self, key: str, deadline_s: float) -> RecordMerge:
        """Collect a key's records from its nearest nodes and from our own storage."""
        key_id = key_id_of(key)
        merge = RecordMerge(self.protocol.validator, key_id, time.time())
        if not self.protocol.client_mode:
            own = self.protocol.records.get(key_id, time.time())
            merge.add((record.peer_id, record.packed, record.expires_at) for record in own)
        await self._look_up(key_id, deadline_s, merge)
        return merge

    async def announce(self, record: DhtRecord) -> int:
        """Store our own record at its key's replicas; return how many keep it.

        Raises:
            RecordRejected: the record is too large, or another peer's.
        """
        if record.subkey != peer_text(self.peer_id):
            raise RecordRejected("wrong_subkey")
        packed = pack_value(record.key, record.value)
        key_id = key_id_of(record.key)
        remembered = self._memory.recall(key_id, time.monotonic())
        if remembered:
            kept = await self._store_at(remembered, key_id, record, packed)
            if 2 * kept > len(remembered):
                return kept
        replicas = await self._find_replicas(key_id)
        kept = await self._store_at(replicas, key_id, record, packed)
        if kept:
            self._memory.learn(key_id, replicas, time.monotonic())
        else:
            self._memory.forget(key_id)
        return kept

    async def _find_replicas(self, key_id: bytes) -> tuple[PeerID, ...]:
        """Return the nearest nodes, this one included unless it is a client, nearest first."""
        nodes = list((await self.find_nearest(key_id, _STORE_LOOKUP_DEADLINE_S)).nearest)
        if not self.protocol.client_mode:
            nodes.append((int(self.node_id), self.peer_id))
        target = int(dht_id(key_id))
        return tuple(peer for _, peer in sorted(nodes, key=lambda node: node[0] ^ target)[:REPLICAS])

    async def _store_at(self, replicas: tuple[PeerID, ...], key_id: bytes, record: DhtRecord, packed: bytes) -> int:
        protocol: RecordProtocol = self.protocol

        async def store(peer: PeerID) -> bool:
            if peer == self.peer_id:
                return protocol.keep(key_id, record.subkey, packed, record.expires_at)
            return await protocol.call_store(peer, [dht_id(key_id)], [packed], [record.expires_at]) == [True]

        return sum(await asyncio.gather(*(store(peer) for peer in replicas)))

    async def _look_up(self, target: bytes, deadline_s: float, merge: RecordMerge | None = None) -> Lookup[PeerID]:
        """Look up among the peers that answered lately; if none of them answers, among all."""
        ends_at_s = time.monotonic() + deadline_s
        found = await self._look_up_once(target, deadline_s, merge, spare_benched=True)
        remaining_s = ends_at_s - time.monotonic()
        if found.nearest or remaining_s <= 0:
            return found
        return await self._look_up_once(target, remaining_s, merge, spare_benched=False)

    async def _look_up_once(
        self, target: bytes, deadline_s: float, merge: RecordMerge | None, *, spare_benched: bool
    ) -> Lookup[PeerID]:
        key = dht_id(target)

        async def ask(peer: PeerID) -> list[tuple[int, PeerID]] | None:
            if spare_benched and self.protocol.bench.is_benched(peer_text(peer), time.monotonic()):
                return None
            replies = await self.protocol.call_find(peer, [key])
            if replies is None:
                return None
            reply: FindReply = replies[key]
            if merge is not None:
                merge.add(reply.entries)
            return reply.neighbours

        return await look_up(int(key), self.protocol.known_nodes(key, MAX_ASKED), ask, deadline_s=deadline_s)

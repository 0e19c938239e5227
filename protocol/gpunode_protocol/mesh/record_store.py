"""The records that a DHT node keeps for others: bounded by key, by peer and in bytes; evicted at random."""

import random
from collections import Counter
from dataclasses import dataclass

from gpunode_protocol.mesh.errors import RecordRejected
from gpunode_protocol.mesh.records import MAX_RECORDS_PER_KEY

_Slot = tuple[bytes, str]  # key id, peer id


RECORD_OVERHEAD_BYTES = 800
"""Memory that a record takes beside its value, measured with CPython 3.11: 100,000 small ones took 80 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """Bounds of a store.

    records_per_peer: a node of 4 models under 2 shard counts needs 48 keys. total_bytes: of memory, for all records.
    """

    records_per_key: int = MAX_RECORDS_PER_KEY
    records_per_peer: int = 64
    total_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """A validated record as it is kept and sent: packed is the stored form of key text and value."""

    peer_id: str
    sequence: int
    expires_at: int
    packed: bytes

    @property
    def size_bytes(self) -> int:
        """What it counts for in the store's bound."""
        return len(self.packed) + RECORD_OVERHEAD_BYTES


class RecordStore:
    """Keeps validated records until they expire.

    hivemind's own storage evicts the earliest expiry, so that long-lived records push honest ones out; here the
    victim is drawn at random.
    """

    def __init__(self, limits: StoreLimits | None = None, *, rng: random.Random | None = None) -> None:
        self._limits = limits or StoreLimits()
        self._rng = rng or random.SystemRandom()
        self._records: dict[_Slot, StoredRecord] = {}
        self._peers_of_key: dict[bytes, set[str]] = {}
        self._slots: list[_Slot] = []  # for drawing one at random in constant time
        self._position: dict[_Slot, int] = {}
        self._count_of_peer: Counter[str] = Counter()
        self.total_bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def put(self, key_id: bytes, record: StoredRecord) -> None:
        """Keep a record that has been validated, in place of an older one of the same peer.

        Raises:
            RecordRejected: an older sequence, another body under the same sequence, or too many records of this peer.
        """
        slot = (key_id, record.peer_id)
        present = self._records.get(slot)
        if present is not None:
            if record.packed == present.packed:
                return
            if record.sequence <= present.sequence:
                raise RecordRejected("older_sequence")
            self._remove(slot)
        elif self._count_of_peer[record.peer_id] >= self._limits.records_per_peer:
            raise RecordRejected("too_many_of_peer")
        self._make_room(key_id, record.size_bytes)
        self._insert(slot, record)

    def get(self, key_id: bytes, now: float) -> list[StoredRecord]:
        """Return the records of a key that have not expired, in random order."""
        peers = list(self._peers_of_key.get(key_id, ()))
        self._rng.shuffle(peers)
        found = [self._records[key_id, peer] for peer in peers]
        return [record for record in found if record.expires_at > now]

    def drop_expired(self, now: float) -> int:
        """Forget what has expired; return how many records that were."""
        expired = [slot for slot, record in self._records.items() if record.expires_at <= now]
        for slot in expired:
            self._remove(slot)
        return len(expired)

    def _make_room(self, key_id: bytes, size_bytes: int) -> None:
        peers = self._peers_of_key.get(key_id, set())
        if len(peers) >= self._limits.records_per_key:
            self._remove((key_id, self._rng.choice(sorted(peers))))
        while self._slots and self.total_bytes + size_bytes > self._limits.total_bytes:
            self._remove(self._rng.choice(self._slots))

    def _insert(self, slot: _Slot, record: StoredRecord) -> None:
        key_id, peer = slot
        self._records[slot] = record
        self._peers_of_key.setdefault(key_id, set()).add(peer)
        self._position[slot] = len(self._slots)
        self._slots.append(slot)
        self._count_of_peer[peer] += 1
        self.total_bytes += record.size_bytes

    def _remove(self, slot: _Slot) -> None:
        key_id, peer = slot
        self.total_bytes -= self._records.pop(slot).size_bytes
        self._peers_of_key[key_id].discard(peer)
        if not self._peers_of_key[key_id]:
            del self._peers_of_key[key_id]
        self._count_of_peer[peer] -= 1
        if not self._count_of_peer[peer]:
            del self._count_of_peer[peer]
        position = self._position.pop(slot)
        last = self._slots.pop()
        if last != slot:
            self._slots[position] = last
            self._position[last] = position

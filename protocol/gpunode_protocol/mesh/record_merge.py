"""Merging the replies of several replicas: every entry is judged singly, the newest of each peer wins."""

from collections import Counter
from collections.abc import Iterable

from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.mesh.errors import RecordRejected
from gpunode_protocol.mesh.record_store import StoredRecord
from gpunode_protocol.mesh.records import MAX_RECORDS_PER_KEY, RecordValidator, ValidRecord, check_record
from gpunode_protocol.safe_msgpack import pack, unpack

Entry = tuple[str, bytes, float]
"""Peer id, stored form, expiry in Unix seconds: one entry as it travels in a reply."""

_ENTRY_FIELDS = 3


def pack_entries(records: Iterable[StoredRecord]) -> bytes:
    """Return the reply to a look-up: a msgpack array of [peer id, stored form, expiry]."""
    return pack([[record.peer_id, record.packed, record.expires_at] for record in records])


def unpack_entries(data: bytes) -> list[Entry]:
    """Return the entries of a reply; entries of the wrong shape are left out, and at most 64 are read.

    Raises:
        MalformedMessage: not a msgpack array.
    """
    value = unpack(data, max_depth=2)
    if not isinstance(value, tuple):
        raise MalformedMessage("A look-up was not answered with an array.")
    return [item for item in value[:MAX_RECORDS_PER_KEY] if _is_entry(item)]


def _is_entry(item: object) -> bool:
    if not isinstance(item, tuple) or len(item) != _ENTRY_FIELDS:
        return False
    peer_id, packed, expires_at = item
    return isinstance(peer_id, str) and isinstance(packed, bytes) and isinstance(expires_at, int | float)


class RecordMerge:
    """Collects the entries of one key from several replicas."""

    def __init__(self, validator: RecordValidator, key_id: bytes, now: float) -> None:
        self._validator = validator
        self._key_id = key_id
        self._now = now
        self._seen: set[Entry] = set()
        self._newest: dict[str, ValidRecord] = {}
        self.replicas_answered = 0
        self.dropped: Counter[str] = Counter()

    def add(self, entries: Iterable[Entry]) -> None:
        """Take one replica's entries; identical ones are verified once."""
        self.replicas_answered += 1
        for entry in entries:
            if entry not in self._seen:
                self._seen.add(entry)
                self._judge(entry)

    def _judge(self, entry: Entry) -> None:
        peer_id, packed, expires_at = entry
        try:
            record = check_record(self._validator, self._key_id, peer_id, packed, expires_at, self._now)
        except RecordRejected as rejected:
            self.dropped[rejected.reason] += 1
            return
        known = self._newest.get(record.peer_id)
        if known is None or record.sequence > known.sequence:
            self._newest[record.peer_id] = record

    def records(self) -> tuple[ValidRecord, ...]:
        """Return the newest record of every peer that has not left."""
        return tuple(record for record in self._newest.values() if not record.tombstone)

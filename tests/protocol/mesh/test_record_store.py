import random
import tracemalloc
from contextlib import suppress

import pytest
from gpunode_protocol.mesh.errors import RecordRejected
from gpunode_protocol.mesh.record_store import RECORD_OVERHEAD_BYTES, RecordStore, StoredRecord, StoreLimits
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_000.0
KEY, OTHER_KEY = b"k" * 20, b"o" * 20


def record(peer_id: str = "peer", sequence: int = 1, *, expires_at: int = 1_100, packed: bytes = b"") -> StoredRecord:
    """Return a record whose bytes follow from peer and sequence."""
    return StoredRecord(
        peer_id=peer_id, sequence=sequence, expires_at=expires_at, packed=packed or f"{peer_id}{sequence}".encode()
    )


def store(**limits: int) -> RecordStore:
    """Return an empty store with a fixed random source."""
    return RecordStore(StoreLimits(**limits), rng=random.Random(1))


def test_newer_sequence_replaces_older() -> None:
    """A peer has one record per key, its newest."""
    records = store()
    records.put(KEY, record(sequence=1))
    records.put(KEY, record(sequence=2))
    assert [item.sequence for item in records.get(KEY, NOW)] == [2]


def test_older_sequence_never_replaces_newer() -> None:
    """Replaying a victim's older record does not delete its newer one, however long it lives."""
    records = store()
    records.put(KEY, record(sequence=2))
    with pytest.raises(RecordRejected, match="older_sequence"):
        records.put(KEY, record(sequence=1, expires_at=1_170))
    assert [item.sequence for item in records.get(KEY, NOW)] == [2]


def test_same_sequence_with_other_bytes_is_refused() -> None:
    """One sequence number stands for one body."""
    records = store()
    records.put(KEY, record(packed=b"first"))
    with pytest.raises(RecordRejected, match="older_sequence"):
        records.put(KEY, record(packed=b"second"))


def test_same_bytes_again_are_fine() -> None:
    """Refreshing a record is no error and takes no room."""
    records = store()
    records.put(KEY, record())
    records.put(KEY, record())
    assert (len(records), records.total_bytes) == (1, record().size_bytes)


def test_expired_records_are_not_returned_and_go_away() -> None:
    """A record ends with its own expiry."""
    records = store()
    records.put(KEY, record(expires_at=1_001))
    records.put(OTHER_KEY, record(expires_at=1_100))
    assert records.get(KEY, 1_001.0) == []
    assert records.drop_expired(1_001.0) == 1
    assert len(records) == 1


def test_peer_cannot_store_without_limit() -> None:
    """One peer has a bounded number of records; replacing one of them stays possible."""
    records = store(records_per_peer=2)
    records.put(KEY, record())
    records.put(OTHER_KEY, record())
    with pytest.raises(RecordRejected, match="too_many_of_peer"):
        records.put(b"t" * 20, record())
    records.put(KEY, record(sequence=2))
    assert [item.sequence for item in records.get(KEY, NOW)] == [2]


def test_full_key_evicts_at_random() -> None:
    """A key holds a bounded number of peers, and long-lived records have no advantage."""
    survivors = set()
    for seed in range(20):
        records = RecordStore(StoreLimits(records_per_key=4), rng=random.Random(seed))
        for number in range(5):
            records.put(KEY, record(f"peer{number}", expires_at=1_100 + number))
        found = {item.peer_id for item in records.get(KEY, NOW)}
        assert len(found) == 4
        survivors |= found
    assert survivors == {f"peer{number}" for number in range(5)}


def test_total_bytes_are_bounded() -> None:
    """However many peers store, memory does not grow beyond the limit."""
    records = store(total_bytes=10 * (100 + RECORD_OVERHEAD_BYTES))
    for number in range(50):
        records.put(bytes([number]) * 20, record(f"peer{number}", packed=bytes(100)))
    assert records.total_bytes == 10 * (100 + RECORD_OVERHEAD_BYTES)
    assert len(records) == 10


def test_small_records_take_no_more_memory_than_the_bound() -> None:
    """What a record takes beside its value counts: otherwise small ones would take ten times as much."""
    tracemalloc.start()
    try:
        limit_bytes = 2_000_000
        records = store(total_bytes=limit_bytes)
        for number in range(5_000):
            key_id = number.to_bytes(20, "big")
            records.put(
                key_id, record(f"12D3KooW{number // 64:044}", expires_at=1_100 + number, packed=bytes(1 + number % 99))
            )
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(records) < 5_000
    assert taken_bytes < limit_bytes


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 4), st.integers(1_001, 1_010))))
def test_counts_agree_after_any_history(history: list[tuple[int, int, int, int]]) -> None:
    """Whatever is put and expires, the bounds hold and nothing is left behind."""
    limits = StoreLimits(records_per_key=3, records_per_peer=2, total_bytes=6 * record().size_bytes)
    records = RecordStore(limits, rng=random.Random(0))
    for key, peer, sequence, expires_at in history:
        with suppress(RecordRejected):
            records.put(bytes([key]) * 20, record(f"peer{peer}", sequence, expires_at=expires_at, packed=bytes(10)))
        assert records.total_bytes <= limits.total_bytes
        assert all(len(records.get(bytes([number]) * 20, NOW)) <= 3 for number in range(4))
    records.drop_expired(2_000.0)
    assert (len(records), records.total_bytes) == (0, 0)

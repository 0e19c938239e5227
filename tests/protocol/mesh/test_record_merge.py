import math

import pytest
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.mesh.record_merge import RecordMerge, pack_entries, unpack_entries
from gpunode_protocol.mesh.record_store import StoredRecord
from gpunode_protocol.mesh.records import key_id_of, pack_value
from gpunode_protocol.safe_msgpack import pack
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.mesh.plain_records import PlainValidator, plain_value

NOW, EXPIRY = 1_000.0, 1_100
Entry = tuple[str, bytes, float]


def entry(peer_id: str, sequence: int = 1, *, tombstone: bool = False, expires_at: int = EXPIRY) -> Entry:
    """Return one entry of a reply."""
    return (peer_id, pack_value("topic", plain_value(sequence, expires_at, tombstone=tombstone)), float(expires_at))


def merge(*replies: list[Entry]) -> RecordMerge:
    """Merge replies."""
    merged = RecordMerge(PlainValidator(), key_id_of("topic"), NOW)
    for reply in replies:
        merged.add(reply)
    return merged


def test_replies_are_united() -> None:
    """Peers that only one replica knows are found."""
    found = merge([entry("a")], [entry("b")], [])
    assert {record.peer_id for record in found.records()} == {"a", "b"}
    assert found.replicas_answered == 3


def test_newest_sequence_wins_in_any_order() -> None:
    """A replica that replays an older record changes nothing."""
    assert [record.sequence for record in merge([entry("a", 2)], [entry("a", 1)]).records()] == [2]
    assert [record.sequence for record in merge([entry("a", 1)], [entry("a", 2)]).records()] == [2]


def test_tombstone_hides_the_peer() -> None:
    """Who has left is not found, even where a replica missed the farewell."""
    assert merge([entry("a", 1)], [entry("a", 2, tombstone=True)]).records() == ()


def test_bad_entry_is_dropped_singly() -> None:
    """One too long-lived entry does not void the others; stock hivemind drops the whole dictionary."""
    bad = [entry("long", expires_at=5_000), ("forged", b"\0\5topic", EXPIRY), ("forbidden", *entry("x")[1:])]
    found = merge([*bad, *(entry(f"peer{number}") for number in range(20))])
    assert len(found.records()) == 20
    assert dict(found.dropped) == {"expires_too_late": 1, "malformed": 1, "forbidden": 1}


def test_empty_reply_ends_nothing() -> None:
    """An empty dictionary is one answer among others."""
    assert len(merge([], [entry("a")]).records()) == 1


def test_identical_entries_are_verified_once() -> None:
    """Five replicas cost one verification."""
    validator = PlainValidator()
    merged = RecordMerge(validator, key_id_of("topic"), NOW)
    for _ in range(5):
        merged.add([entry("a")])
    assert validator.calls == 1


def test_entries_come_back_as_sent() -> None:
    """What a node sends is what the asker reads."""
    record = StoredRecord(peer_id="a", sequence=1, expires_at=EXPIRY, packed=entry("a")[1])
    assert unpack_entries(pack_entries([record])) == [("a", record.packed, EXPIRY)]


def test_entries_of_another_shape_are_left_out() -> None:
    """A malformed entry does not hide its neighbours, and only 64 are read."""
    good = ["a", b"value", EXPIRY]
    assert unpack_entries(pack([good, ["a"], [1, b"", 2], ["a", "text", 2], 7, good])) == [tuple(good), tuple(good)]
    assert len(unpack_entries(pack([good] * 70))) == 64


@pytest.mark.parametrize("data", [b"", b"\xc1", pack({"a": 1}), pack("text"), pack([[[[1]]]])])
def test_reply_that_is_no_array_is_malformed(data: bytes) -> None:
    """Garbage raises the one error that callers expect."""
    with pytest.raises(MalformedMessage):
        unpack_entries(data)


@given(st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=60), st.floats())))
def test_any_entries_are_judged_without_error(entries: list[Entry]) -> None:
    """Nothing that a replica may send raises, NaN included."""
    merged = merge(entries, [("a", b"", math.nan)])
    assert merged.records() == ()

import math

import pytest
from gpunode_protocol.mesh.errors import RecordRejected
from gpunode_protocol.mesh.records import (
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    check_record,
    key_id_of,
    node_id_of,
    pack_value,
    unpack_value,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.mesh.plain_records import PlainValidator, plain_value

NOW = 1_000.0
PEER = "12D3KooWPeer"


def check(*, key: str = "topic", stored_under: str = "topic", subkey: str = PEER, expires_at: float = 1_100) -> None:
    """Check a valid record, with one thing changed by each test."""
    packed = pack_value(key, plain_value(1, 1_100))
    check_record(PlainValidator(), key_id_of(stored_under), subkey, packed, expires_at, NOW)


@given(st.text(min_size=1, max_size=60), st.binary(max_size=1_400))
def test_values_come_back_as_packed(key: str, value: bytes) -> None:
    """Packing keeps key text and value apart, whatever they hold."""
    assert unpack_value(pack_value(key, value)) == (key, value)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Bytes from a stranger raise nothing but a refusal."""
    try:
        key, value = unpack_value(data)
    except RecordRejected:
        return
    assert pack_value(key, value) == data


@pytest.mark.parametrize(
    ("key", "value"), [("k" * (MAX_KEY_BYTES + 1), b""), ("k", bytes(MAX_VALUE_BYTES))], ids=["key", "value"]
)
def test_oversized_records_are_not_packed(key: str, value: bytes) -> None:
    """4 KiB and 256 bytes of key are the limits."""
    with pytest.raises(RecordRejected, match="too_large"):
        pack_value(key, value)


def test_valid_record_passes() -> None:
    """Nothing changed, nothing refused."""
    check()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stored_under": "another topic"}, "wrong_key"),
        ({"expires_at": 999}, "expired"),
        ({"expires_at": math.nan}, "expired"),
        ({"expires_at": 1_181}, "expires_too_late"),
        ({"expires_at": math.inf}, "expires_too_late"),
        ({"expires_at": 1_099}, "wrong_expiry"),
        ({"subkey": "forbidden"}, "forbidden"),
    ],
)
def test_invalid_record_is_refused_with_its_reason(change: dict[str, object], reason: str) -> None:
    """Each check has its own word in the counters."""
    with pytest.raises(RecordRejected) as refusal:
        check(**change)  # type: ignore[arg-type]  # -- parametrised
    assert refusal.value.reason == reason


def test_ids_of_keys_and_nodes_differ() -> None:
    """A peer id used as a key has another id: the two kinds cannot be confused."""
    assert key_id_of(PEER) != node_id_of(PEER)
    assert len(key_id_of(PEER)) == len(node_id_of(PEER)) == 20

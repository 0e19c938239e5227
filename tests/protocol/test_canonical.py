"""The one encoding of signed maps."""

from typing import Any

import msgpack
import pytest
from gpunode_protocol import canonical
from gpunode_protocol.errors import NotCanonical
from hypothesis import given
from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
MAPS = st.dictionaries(st.text(), VALUES)


def _nested(levels: int) -> dict[str, Any]:
    """Return maps in maps, ``levels`` of them, the innermost with a scalar."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return dict(value)


def _as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_tuples(item) for key, item in value.items()}
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value


def test_known_bytes() -> None:
    """Keys are sorted by their UTF-8 bytes, integers are as short as they can be."""
    value = {"b": [1, -1, 128, True, None], "a": b"\x00", "é": "x", "Z": 2**32}
    assert canonical.encode(value).hex() == "84a15acf0000000100000000a161c40100a1629501ffcc80c3c0a2c3a9a178"


@given(MAPS)
def test_decoding_gives_back_what_was_encoded(value: dict[str, Any]) -> None:
    """Decode after encode is the identity, arrays as tuples, whatever fits the depth."""
    try:
        data = canonical.encode(value)
    except NotCanonical:
        return  # nested deeper than 8
    assert canonical.decode(data) == _as_tuples(value)
    assert canonical.encode(canonical.decode(data)) == data


@given(st.binary(max_size=64))
def test_random_bytes_are_canonical_or_refused(data: bytes) -> None:
    """Random bytes are refused, or are exactly what encoding their value gives."""
    try:
        value = canonical.decode(data)
    except NotCanonical:
        return
    assert canonical.encode(value) == data


@pytest.mark.parametrize("value", [1.5, 0.0, float("nan"), {1, 2}, object(), bytearray(b"x"), msgpack.Timestamp(0)])
def test_other_types_are_refused(value: object) -> None:
    """Floats, ext types and everything without a canonical form cannot be signed."""
    with pytest.raises(NotCanonical):
        canonical.encode({"a": value})


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1])
def test_integers_beyond_64_bits_are_refused(value: int) -> None:
    """MessagePack has no larger integers."""
    with pytest.raises(NotCanonical):
        canonical.encode({"a": value})


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"\ud800": 1}])
def test_lone_surrogates_are_refused(value: dict[str, Any]) -> None:
    """Text that has no UTF-8 form cannot be signed, as value or as key."""
    with pytest.raises(NotCanonical):
        canonical.encode(value)


@pytest.mark.parametrize("key", [1, None, b"a", True])
def test_keys_are_text(key: Any) -> None:
    """A key that is not text is refused on both sides."""
    with pytest.raises(NotCanonical):
        canonical.encode({key: 1})
    with pytest.raises(NotCanonical):
        canonical.decode(msgpack.packb({key: 1}))


def test_eight_levels_are_allowed() -> None:
    """Eight nested maps with something inside are the limit."""
    value = _nested(8)
    assert canonical.decode(canonical.encode(value)) == value


def test_nine_levels_are_refused() -> None:
    """The ninth level is refused by the encoder and by the decoder, even when it is empty."""
    with pytest.raises(NotCanonical):
        canonical.encode(_nested(9))
    for innermost in (b"\x01", b"\x80", b"\x90"):
        with pytest.raises(NotCanonical):
            canonical.decode(b"\x81\xa1a" * (9 if innermost == b"\x01" else 8) + innermost)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("82a16201a16101", "keys not sorted"),
        ("82a16101a16101", "the same key twice"),
        ("81a161cc01", "1 as uint8"),
        ("81a161cd0080", "128 as uint16"),
        ("81a161d001", "1 as int8"),
        ("81a161d0ff", "-1 as int8"),
        ("81a161cf0000000000000001", "1 as uint64"),
        ("81d90161 01", "key as str8"),
        ("81a161d90162", "short text as str8"),
        ("81a161c5000101", "short bytes as bin16"),
        ("81a161dc000101", "short array as array16"),
        ("de0001a16101", "short map as map16"),
        ("81a161cb3ff0000000000000", "float 1.0"),
        ("81a161cb7ff8000000000000", "NaN"),
        ("81a161ca3f800000", "float32"),
        ("81a161d40500", "ext type 5"),
        ("81a161d6ff00000000", "timestamp"),
        ("81a161a1ff", "invalid UTF-8"),
        ("81c4016101", "bytes as key"),
        ("810101", "integer as key"),
        ("81a161", "cut off"),
        ("81a1610100", "something after the map"),
        ("", "nothing"),
        ("c0", "nil instead of a map"),
        ("9101", "array instead of a map"),
        ("01", "integer instead of a map"),
        ("c1", "reserved byte"),
    ],
)
def test_other_encodings_are_refused(data: str, what: str) -> None:
    """Every other encoding of a value, and everything that is not one map, is refused."""
    with pytest.raises(NotCanonical):
        canonical.decode(bytes.fromhex(data))
    assert what


def test_true_and_one_differ() -> None:
    """A boolean and an integer have different bytes and come back as what they were."""
    assert canonical.encode({"a": True}) != canonical.encode({"a": 1})
    assert canonical.decode(canonical.encode({"a": True}))["a"] is True
    assert canonical.decode(canonical.encode({"a": 1}))["a"] == 1
    assert canonical.decode(canonical.encode({"a": 1}))["a"] is not True

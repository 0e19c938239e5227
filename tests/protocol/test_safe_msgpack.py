"""Decoding msgpack from strangers."""

import contextlib
import math
from typing import Any

import msgpack
import pytest
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.safe_msgpack import MAX_DEPTH, MAX_ITEMS, MAX_MAPS, pack, unpack
from hypothesis import given
from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary() | st.floats()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


def _array(count: int, item: bytes) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big") + item * count


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    """Random bytes are a value or a MalformedMessage."""
    with contextlib.suppress(MalformedMessage):
        unpack(data)


@given(VALUES)
def test_values_come_back(value: Any) -> None:
    """What pack wrote, unpack reads, arrays as tuples."""
    try:
        again = unpack(pack(value))
    except MalformedMessage:  # too deep, or a float that is not finite
        return
    assert pack(again) == pack(value)


def test_arrays_are_tuples_and_maps_are_dictionaries() -> None:
    """Arrays cannot be changed by their readers."""
    assert unpack(pack({"a": [1, [2]]})) == {"a": (1, (2,))}


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\xde\x00\x01\xa1a"])
def test_depth_limit(opening: bytes) -> None:
    """Sixteen levels are read, the seventeenth is refused, in arrays and in maps."""
    unpack(opening * MAX_DEPTH + b"\xc0")
    with pytest.raises(MalformedMessage, match="too deep"):
        unpack(opening * (MAX_DEPTH + 1) + b"\xc0")


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xc7\x01\x05\x91", b"\x81\x91"])
def test_absurd_depth_is_refused_quickly(opening: bytes) -> None:
    """A megabyte of openings overflows no stack."""
    with pytest.raises(MalformedMessage):
        unpack(opening * (1_000_000 // len(opening)))


@pytest.mark.parametrize(
    "data", [b"\xd4\x05\x00", b"\xc7\x00\x50", b"\xd6\xff\x00\x00\x00\x00", b"\xc7\x0c\xff" + b"\xff" * 12]
)
def test_extension_types_are_refused(data: bytes) -> None:
    """Neither unknown extension types nor timestamps are read, at the top or inside."""
    for message in (data, b"\x91" + data, b"\x81\xa1a" + data):
        with pytest.raises(MalformedMessage):
            unpack(message)


def test_nested_extension_tuples_do_not_crash() -> None:
    """The 1.9 KB message of nested extension tuples that kills a stock hivemind process is only refused."""
    data = b""
    for _ in range(400):
        data = msgpack.packb(msgpack.ExtType(0x40, data))
    with pytest.raises(MalformedMessage):
        unpack(data)


@pytest.mark.parametrize("data", [b"\x82\xa1a\x01\xa1a\x02", b"\x91\x82\xa1a\x01\xa1a\x01"])
def test_duplicate_keys_are_refused(data: bytes) -> None:
    """A key that comes twice in one map is refused: two readers could see two messages."""
    with pytest.raises(MalformedMessage, match="twice"):
        unpack(data)


@pytest.mark.parametrize("key", [b"\x01", b"\xc4\x01a", b"\xc0", b"\x90", b"\xc2", b"\xcb" + b"\0" * 8])
def test_keys_are_text(key: bytes) -> None:
    """Keys of another type are refused."""
    with pytest.raises(MalformedMessage):
        unpack(b"\x81" + key + b"\x01")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite(number: float) -> None:
    """NaN and infinities are refused: comparisons with them are traps."""
    with pytest.raises(MalformedMessage, match="finite"):
        unpack(msgpack.packb({"a": [number]}))


@pytest.mark.parametrize(
    "data", [b"", b"\x01\x01", b"\x92\x01", b"\xa5abc", b"\xc1", b"\xa1\xff", b"\xdd\xff\xff\xff\xff"]
)
def test_exactly_one_whole_value(data: bytes) -> None:
    """Nothing, a rest, a piece, the reserved byte, wrong UTF-8 or a bogus length is refused."""
    with pytest.raises(MalformedMessage):
        unpack(data)


def test_long_arrays_of_numbers_are_read() -> None:
    """The longest array that may come is one of token ids."""
    assert len(unpack(_array(MAX_ITEMS, b"\x01"))) == MAX_ITEMS
    with pytest.raises(MalformedMessage):
        unpack(_array(MAX_ITEMS + 1, b"\x01"))


@pytest.mark.parametrize("item", [b"\xc0", b"\x01", b"\x90", b"\xa0"])
def test_items_are_bounded_in_all(item: bytes) -> None:
    """Many arrays inside one message cannot hold more items together than one alone: a MiB must not cost a second."""
    half = _array(MAX_ITEMS // 2 + 1, item)
    with pytest.raises(MalformedMessage, match="items"):
        unpack(b"\x92" + half + half)


def test_maps_are_bounded_in_all() -> None:
    """A message holds at most 16,384 maps: they are the dearest items to decode."""
    assert len(unpack(_array(MAX_MAPS, b"\x80"))) == MAX_MAPS
    with pytest.raises(MalformedMessage, match="maps"):
        unpack(_array(MAX_MAPS + 1, b"\x80"))


def test_error_text_is_for_people() -> None:
    """The message says what is wrong."""
    with pytest.raises(MalformedMessage, match="not valid msgpack"):
        unpack(b"\x92\x01")

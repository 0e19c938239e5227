"""The one encoding of signed maps: sorted text keys, shortest integers, no floats, no ext types, depth <= 8."""

from collections.abc import Iterable, Mapping
from typing import Any

from gpunode_protocol.errors import MalformedMessage, NotCanonical
from gpunode_protocol.safe_msgpack import pack, unpack

MAX_DEPTH = 8
"""Maps and arrays inside each other, the outermost counted."""

_SCALARS = (bool, int, str, bytes)
_ARRAYS = (list, tuple)


def _normalised(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, _SCALARS):
        return value
    if depth > MAX_DEPTH:
        raise NotCanonical(f"A signed map may be nested at most {MAX_DEPTH} levels deep.")
    if isinstance(value, Mapping):
        return {key: _normalised(value[key], depth + 1) for key in _in_order(value)}
    if isinstance(value, _ARRAYS):
        # long arrays are token ids: keep their walk cheap
        return [item if type(item) is int else _normalised(item, depth + 1) for item in value]
    raise NotCanonical(f"A signed map cannot hold a {type(value).__name__}.")


def _in_order(keys: Iterable[Any]) -> list[str]:
    """Sort by code points, which is the order of the UTF-8 bytes, so that every language sorts alike."""
    keys = list(keys)
    if not all(isinstance(key, str) for key in keys):
        raise NotCanonical("The keys of a signed map are text.")
    return sorted(keys)


def encode(value: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of a map.

    Raises:
        NotCanonical: a float, another type, a key that is not text, or too deep.
    """
    try:
        return pack(_normalised(value, 1))
    except OverflowError as error:
        raise NotCanonical("An integer in a signed map needs more than 64 bits.") from error
    except UnicodeEncodeError as error:
        raise NotCanonical("A text in a signed map is not valid Unicode.") from error


def decode(data: bytes) -> dict[str, Any]:
    """Read canonical bytes back; decoding and encoding again must give the same bytes.

    Raises:
        NotCanonical: not the canonical encoding of one map.
    """
    try:
        value = unpack(data, max_depth=MAX_DEPTH)
    except MalformedMessage as error:
        raise NotCanonical(f"A signed body cannot be read: {error}") from error
    if not isinstance(value, dict) or encode(value) != data:
        raise NotCanonical("A signed body is not one map in canonical form: sorted keys, shortest integers, no floats.")
    return value

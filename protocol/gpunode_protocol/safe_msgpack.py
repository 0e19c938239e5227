"""Decoding msgpack from strangers: depth, size, extension types and duplicate keys are checked.

msgpack's C decoder keeps its own bounded stack (1,024 levels) and never recurses as long as no extension hook
decodes again, so decoding first and walking the result afterwards is safe.
Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import math
from typing import Any, NoReturn

import msgpack

from gpunode_protocol.errors import MalformedMessage

MAX_DEPTH = 16
"""Nesting that a frame may have; signed bodies allow 8 (see ``canonical``)."""

MAX_ITEMS = 262_144
"""Items that one array or map may have: more than the token ids of the longest context served."""

_SCALARS = (str, bytes, int, float, bool, type(None))


def _refuse_extension(code: int, data: bytes) -> NoReturn:  # noqa: ARG001 -- msgpack calls it with the data
    raise MalformedMessage(f"The message uses the msgpack extension type {code}.")


def _unique_pairs(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Return the map of ``pairs``; refuse keys that are not text or come twice."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise MalformedMessage("A map key is not text.")
        if key in result:
            raise MalformedMessage(f"The key {key[:40]!r} comes twice in one map.")
        result[key] = value
    return result


def _check(value: Any, depth_left: int) -> None:
    """Refuse what is nested too deep or of a type that the protocol does not use; recursion is bounded by depth."""
    if isinstance(value, tuple | dict):
        if depth_left == 0:
            raise MalformedMessage("The message is nested too deep.")
        for item in value.values() if isinstance(value, dict) else value:
            if type(item) is not int:  # long arrays are token ids: keep their walk cheap
                _check(item, depth_left - 1)
    elif not isinstance(value, _SCALARS):
        raise MalformedMessage(f"The message holds a {type(value).__name__}, which the protocol does not use.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise MalformedMessage("The message holds a number that is not finite.")


def unpack(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Decode one msgpack value; arrays come back as tuples, maps as dictionaries with text keys.

    Raises:
        MalformedMessage: anything but exactly one well-formed value within the limits.
    """
    try:
        value = msgpack.unpackb(
            data,
            use_list=False,
            raw=False,
            ext_hook=_refuse_extension,
            object_pairs_hook=_unique_pairs,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
        )
    except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise MalformedMessage(f"The message is not valid msgpack: {type(error).__name__} {error}".strip()) from error
    _check(value, max_depth)
    return value


def pack(value: Any) -> bytes:
    """Encode a value of maps, lists, text, bytes, numbers, booleans and None."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed

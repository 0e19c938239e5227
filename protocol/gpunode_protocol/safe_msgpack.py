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
"""Items of all arrays and maps of a message together: more than the token ids of the longest context served."""

MAX_MAPS = 16_384
"""Maps in a message: four times the messages of the longest chat. A MiB could hold a million, a second of work."""

_SCALARS = (str, bytes, int, float, bool, type(None))


def _refuse_extension(code: int, data: bytes) -> NoReturn:  # noqa: ARG001 -- msgpack calls it with the data
    raise MalformedMessage(f"The message uses the msgpack extension type {code}.")


class _MapReader:
    """Makes the maps of one message; refuses keys that are not text or come twice, and too many maps."""

    def __init__(self) -> None:
        self._maps_left = MAX_MAPS

    def __call__(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        self._maps_left -= 1
        if self._maps_left < 0:
            raise MalformedMessage(f"The message holds more than {MAX_MAPS} maps.")
        result: dict[str, Any] = {}
        for key, value in pairs:
            if not isinstance(key, str):
                raise MalformedMessage("A map key is not text.")
            if key in result:
                raise MalformedMessage(f"The key {key[:40]!r} comes twice in one map.")
            result[key] = value
        return result


def _check(value: Any, max_depth: int) -> None:
    """Refuse what is too deep, too much or of a type that the protocol does not use; level by level, no recursion."""
    items_left = MAX_ITEMS
    level: list[Any] = [value]
    for depth in range(max_depth + 1):
        below: list[Any] = []
        for item in level:
            kind = type(item)  # the decoder makes no subclasses
            if kind is str or kind is bytes:
                continue
            if kind is tuple or kind is dict:
                if depth == max_depth:
                    raise MalformedMessage("The message is nested too deep.")
                items_left -= len(item)
                if items_left < 0:
                    raise MalformedMessage(f"The message holds more than {MAX_ITEMS} items.")
                # long arrays are token ids: keep their walk cheap
                below += [i for i in (item.values() if kind is dict else item) if type(i) is not int]
            elif not isinstance(item, _SCALARS):
                raise MalformedMessage(f"The message holds a {type(item).__name__}, which the protocol does not use.")
            elif isinstance(item, float) and not math.isfinite(item):
                raise MalformedMessage("The message holds a number that is not finite.")
        level = below


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
            object_pairs_hook=_MapReader(),
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

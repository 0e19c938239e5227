"""A limit on nested msgpack extension types in hivemind's decoder.

hivemind decodes an extension type inside an extension type by recursion in C: some 400 levels, 1.9 KB, overflow the
stack and kill the process, validators or not. Its own messages need 2 levels.
"""

import threading
from typing import Any

MAX_EXTENSION_DEPTH = 8

_state = threading.local()


def limit_msgpack_depth(serializer: Any) -> None:
    """Make ``MSGPackSerializer`` refuse more than 8 nested extension types with ``ValueError``; may be called twice."""
    if getattr(serializer, "_depth_is_limited", False):
        return
    unlimited = serializer._decode_ext_types.__func__  # noqa: SLF001 -- hivemind offers no other place for a limit

    def decode(cls: Any, type_code: int, data: bytes) -> Any:
        depth = getattr(_state, "depth", 0)
        if depth >= MAX_EXTENSION_DEPTH:
            raise ValueError(f"More than {MAX_EXTENSION_DEPTH} msgpack extension types are nested.")
        _state.depth = depth + 1
        try:
            return unlimited(cls, type_code, data)
        finally:
            _state.depth = depth

    serializer._decode_ext_types = classmethod(decode)  # noqa: SLF001 -- see above
    serializer._depth_is_limited = True  # noqa: SLF001 -- remembers that it is done

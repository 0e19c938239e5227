"""Writes a real MaxMind database (format 2.0) that says one thing of every IPv4 address, or of none."""

import struct
from pathlib import Path
from typing import Any, Final

BUILT_AT: Final = 1_700_000_000
_MARKER: Final = b"\xab\xcd\xefMaxMind.com"
_SEPARATOR: Final = bytes(16)
_NODES: Final = 1
_UINT16: Final = 5
_INTEGER_TYPES: Final = {"node_count": 6, "build_epoch": 9}
"""uint32 and uint64, where the format demands them."""
_LONG: Final = 29
"""From this size on, the size stands in a byte of its own, less 29."""

FRANCE: Final[dict[str, Any]] = {
    "continent": {"code": "EU"},
    "country": {"iso_code": "FR"},
    "location": {"latitude": 48.8566, "longitude": 2.3522, "accuracy_radius": 20},
}


def write_mmdb(path: Path, record: dict[str, Any] | None, *, kind: str = "GeoLite2-City") -> Path:
    """Write a database. record: of every IPv4 address and half of IPv6; None: no address is in it."""
    nothing, found = _NODES, _NODES + len(_SEPARATOR)
    tree = (nothing if record is None else found).to_bytes(3, "big") + nothing.to_bytes(3, "big")
    metadata = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": BUILT_AT,
        "database_type": kind,
        "description": {"en": "For tests"},
        "ip_version": 6,
        "languages": ["en"],
        "node_count": _NODES,
        "record_size": 24,
    }
    path.write_bytes(tree + _SEPARATOR + _encode(record or {}) + _MARKER + _encode(metadata))
    return path


def _encode(value: Any, key: str = "") -> bytes:
    if isinstance(value, str):
        data = value.encode()
        return _control(2, len(data)) + data
    if isinstance(value, float):
        return _control(3, 8) + struct.pack(">d", value)
    if isinstance(value, int):
        data = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return _control(_INTEGER_TYPES.get(key, _UINT16), len(data)) + data
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(_encode, value))
    return _control(7, len(value)) + b"".join(_encode(name) + _encode(item, name) for name, item in value.items())


def _control(kind: int, size: int) -> bytes:
    first = min(size, _LONG)
    start = bytes((kind << 5 | first,)) if kind < 8 else bytes((first, kind - 7))
    return start + (bytes((size - _LONG,)) if size >= _LONG else b"")

"""Bytes that the protocol's own encoders would not write."""

from typing import Any

from gpunode_protocol.safe_msgpack import pack


def framed(payload: bytes, *, length: int | None = None) -> bytes:
    """Return a payload behind a header; ``length``: what the header claims, else the truth."""
    return (len(payload) if length is None else length).to_bytes(4, "big") + payload


def sorted_body(value: dict[str, Any]) -> bytes:
    """Return a map's bytes with sorted keys, whatever it holds."""
    return pack(_with_sorted_keys(value))


def _with_sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_sorted_keys(value[key]) for key in sorted(value)}
    return [_with_sorted_keys(item) for item in value] if isinstance(value, list | tuple) else value

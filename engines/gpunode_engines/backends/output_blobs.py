"""Giving a binary result to the parent, in pieces that fit the pipe."""

from typing import Final

from gpunode_engines.backends import Emit
from gpunode_engines.base import Blob

PIECE_BYTES: Final = 1024 * 1024
"""Small beside the pipe's cap, so that pings and other jobs' events pass between the pieces."""


def emit_blob(emit: Emit, index: int, data: bytes, media_type: str) -> None:
    """Emit one whole result. index: which of the job's results; data: not empty."""
    for offset in range(0, len(data), PIECE_BYTES):
        piece = data[offset : offset + PIECE_BYTES]
        emit(Blob(index=index, offset=offset, total_bytes=len(data), data=piece, media_type=media_type))

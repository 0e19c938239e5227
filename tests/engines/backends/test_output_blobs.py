"""A result in pieces."""

import pytest
from gpunode_engines.backends.output_blobs import PIECE_BYTES, emit_blob
from gpunode_engines.base import Blob, Event


@pytest.mark.parametrize("size", [1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_pieces_are_in_order_and_whole(size: int) -> None:
    """Each says where it belongs and how much is to come."""
    data = bytes(number % 251 for number in range(size))
    events: list[Event] = []
    emit_blob(events.append, 2, data, "image/png")
    assert all(isinstance(event, Blob) for event in events)
    pieces = [event for event in events if isinstance(event, Blob)]
    assert b"".join(piece.data for piece in pieces) == data
    assert [piece.offset for piece in pieces] == list(range(0, size, PIECE_BYTES))
    assert {(piece.index, piece.total_bytes, piece.media_type) for piece in pieces} == {(2, size, "image/png")}

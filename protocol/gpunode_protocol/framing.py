"""Frames on a stream: a 4-byte big-endian length, then that many bytes (one msgpack map)."""

from gpunode_protocol.errors import FrameTooLong

HEADER_BYTES = 4
MAX_FRAME_BYTES = 1_048_576
"""Payload limit of a frame; larger inputs and outputs travel in blob frames."""


def frame(payload: bytes) -> bytes:
    """Return a payload with its header.

    Raises:
        FrameTooLong: the payload exceeds 1 MiB.
    """
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameTooLong(f"A message of {len(payload)} bytes exceeds the frame limit of {MAX_FRAME_BYTES} bytes.")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


class FrameParser:
    """Incremental parser; never buffers more than one frame plus what was fed at once."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        """Accept payloads of up to ``max_frame_bytes``."""
        self._buffer = bytearray()
        self._max_frame_bytes = max_frame_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Add received bytes and return the payloads that are complete now.

        Whole frames before a header that announces too much are returned; the next call raises, whatever it is fed.

        Raises:
            FrameTooLong: a header announces too much; the stream cannot be used any more.
        """
        self._buffer += data
        payloads: list[bytes] = []
        position = 0
        while len(self._buffer) - position >= HEADER_BYTES:
            size = int.from_bytes(self._buffer[position : position + HEADER_BYTES], "big")
            if size > self._max_frame_bytes:
                if payloads:
                    break
                raise FrameTooLong(f"A frame of {size} bytes was announced; {self._max_frame_bytes} are allowed.")
            if len(self._buffer) - position - HEADER_BYTES < size:
                break
            position += HEADER_BYTES
            payloads.append(bytes(self._buffer[position : position + size]))
            position += size
        del self._buffer[:position]
        return payloads

    @property
    def is_empty(self) -> bool:
        """Whether the stream may end here: no started frame is waiting for its rest."""
        return not self._buffer

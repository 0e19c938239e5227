"""Counting a segment's output in the unit that vouchers count in; both sides of a stream use the same rule."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gpunode_protocol.digests import Transcript, salted_digest


@dataclass
class OutputLog:
    """What one segment put out: its running digest and its count of output units.

    Units: tokens (llm), milliseconds of audio decoded (whisper), image units of finished pictures (image_gen).
    """

    salt: bytes
    count: int = 0
    tokens: int = 0
    images: int = 0
    transcript: Transcript = field(init=False)

    def __post_init__(self) -> None:
        """Start the transcript under the job's salt."""
        self.transcript = Transcript(self.salt)

    def add_tokens(self, ids: Sequence[int], text: str) -> None:
        """Count one ``tokens`` frame."""
        self.transcript.add_tokens(ids, text)
        self.tokens += len(ids)
        self.count += len(ids)

    def add_segment(self, start_ms: int, end_ms: int, text: str) -> None:
        """Count one ``segment`` frame: audio up to its end."""
        self.transcript.add_segment(start_ms, end_ms, text)
        self.count = max(self.count, end_ms)

    def add_blob(self, blob_id: int, digest: bytes, units: int) -> None:
        """Count one whole output blob."""
        self.transcript.add_blob(blob_id, digest)
        self.images += 1
        self.count += units

    def digest(self) -> bytes:
        """Return the transcript's digest so far."""
        return self.transcript.digest()


def blob_digest(salt: bytes, data: bytes) -> bytes:
    """Return the digest that blob frames and ``BlobRef`` carry."""
    return salted_digest(salt, "blob", data)

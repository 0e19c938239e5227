"""Counting a segment's output in the unit that vouchers count in; both sides of a stream use the same rule.

What a job cannot have (tokens of an image, a picture too many, more tokens than were asked for) is refused before it
is counted: a client signs vouchers for what it counted, and a voucher is payable on that signature alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gpunode_protocol.digests import Transcript, salted_digest
from gpunode_protocol.errors import UnexpectedMessage, VerificationFailed
from gpunode_protocol.payloads import (
    EmbeddingParams,
    ImageParams,
    LlmParams,
    Params,
    SpeechParams,
    worst_case_output_units,
)


@dataclass
class OutputLog:
    """What one segment put out: its running digest and its count of output units.

    Units: tokens (llm), milliseconds of audio decoded (whisper), image units of finished pictures (image_gen).
    An output of another task raises ``UnexpectedMessage``, one beyond the request ``VerificationFailed``.

    Args:
        salt: the job's.
        params: the request's, which bound the output.
    """

    salt: bytes
    params: Params
    count: int = 0
    tokens: int = 0
    images: int = 0  # whole blobs, which are pictures in image jobs
    transcript: Transcript = field(init=False)

    def __post_init__(self) -> None:
        """Start the transcript under the job's salt."""
        self.transcript = Transcript(self.salt)
        self.limit = worst_case_output_units(self.params)
        self._stepped = 0

    @property
    def work(self) -> int:
        """Output units done so far, those of unfinished pictures too: what speed is measured by, not what is paid."""
        return max(self.count, self._stepped)

    def add_progress(self, step: int, total: int) -> None:
        """Note one ``progress`` frame."""
        if isinstance(self.params, LlmParams):
            raise UnexpectedMessage("The node sent progress in a job that has none.")
        self._stepped = max(self._stepped, self.limit * min(step, total) // total)

    def add_tokens(self, ids: Sequence[int], text: str) -> None:
        """Count one ``tokens`` frame."""
        if not isinstance(self.params, LlmParams):
            raise UnexpectedMessage("The node sent tokens in a job that has none.")
        if self.count + len(ids) > self.limit:
            raise VerificationFailed(
                f"The node sent more than the {self.limit} tokens that were asked for.", fault="bad_output"
            )
        self.transcript.add_tokens(ids, text)
        self.tokens += len(ids)
        self.count += len(ids)

    def add_segment(self, start_ms: int, end_ms: int, text: str) -> None:
        """Count one ``segment`` frame: audio from the request's start to its end, at most what was asked for."""
        if not isinstance(self.params, SpeechParams):
            raise UnexpectedMessage("The node sent a segment in a job that has none.")
        self.transcript.add_segment(start_ms, end_ms, text)
        self.count = max(self.count, min(end_ms - self.params.start_ms, self.limit))

    def check_blob(self, units: int) -> None:
        """Refuse a blob that the job cannot have: to be asked before its bytes are collected."""
        match self.params:
            case ImageParams():
                most, each = self.params.n, self.params.units_per_image()
            case EmbeddingParams():
                most, each = 1, 0
            case _:
                raise UnexpectedMessage("The node sent a blob in a job that has none.")
        if self.images >= most or units != each:
            raise VerificationFailed(
                "The node sent another number or size of results than were asked for.", fault="bad_output"
            )

    def add_blob(self, blob_id: int, digest: bytes, units: int) -> None:
        """Count one whole output blob: a picture, or an embedding job's only result."""
        self.check_blob(units)
        self.transcript.add_blob(blob_id, digest)
        self.images += 1
        self.count += units

    def digest(self) -> bytes:
        """Return the transcript's digest so far."""
        return self.transcript.digest()


def blob_digest(salt: bytes, data: bytes) -> bytes:
    """Return the digest that blob frames and ``BlobRef`` carry."""
    return salted_digest(salt, "blob", data)

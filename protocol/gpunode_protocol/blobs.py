"""Cutting blobs into frames and putting them together again, in order, within their declared size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.messages import MAX_BLOB_CHUNK_BYTES, BlobFrame
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.payloads import BlobRef


class WrongBlobDigest(JobError):
    """``blob_invalid``: the bytes of a whole blob are not those that its pieces state."""


@dataclass(frozen=True)
class Blob:
    """A whole blob. units: output units that it completes (image_gen), else 0."""

    id: int
    media_type: str
    data: bytes
    units: int = 0


def blob_frames(blob: Blob, salt: bytes) -> Iterator[BlobFrame]:
    """Yield the frames of a blob, at most 256 KiB of data each.

    Raises:
        JobError: ``blob_invalid``: it is empty, and nothing would say that it exists.
    """
    if not blob.data:
        raise job_error(ErrorCode.BLOB_INVALID, f"Blob {blob.id} is empty.")
    digest = blob_digest(salt, blob.data)
    for offset in range(0, len(blob.data), MAX_BLOB_CHUNK_BYTES):
        yield BlobFrame(
            id=blob.id,
            media_type=blob.media_type,
            total_bytes=len(blob.data),
            offset=offset,
            digest=digest,
            data=blob.data[offset : offset + MAX_BLOB_CHUNK_BYTES],
            units=blob.units,
        )


def _whole(frame: BlobFrame) -> tuple[str, int, bytes, int]:
    """Return what a piece says of the whole blob."""
    return frame.media_type, frame.total_bytes, frame.digest, frame.units


@dataclass
class BlobAssembler:
    """Collects blob frames of one side.

    Args:
        salt: the job's salt.
        max_total_bytes: of all blobs together.
        expected: the inputs that the signed request refers to (see ``input_refs``); None: any blob may come.
    """

    salt: bytes
    max_total_bytes: int
    expected: Sequence[BlobRef] | None = None
    _open: dict[int, tuple[BlobFrame, bytearray]] = field(default_factory=dict)
    _declared_bytes: int = 0
    _finished: set[int] = field(default_factory=set)

    @property
    def is_complete(self) -> bool:
        """Whether every expected blob is whole."""
        return {ref.id for ref in self.expected or ()} <= self._finished

    def _refuse_unexpected(self, frame: BlobFrame) -> None:
        if self.expected is None:
            return
        named = [(ref.id, ref.media_type, ref.size_bytes, ref.digest, 0) for ref in self.expected]
        if (frame.id, *_whole(frame)) not in named:
            raise job_error(ErrorCode.BLOB_INVALID, f"Blob {frame.id} is not one that the request names.")

    def add(self, frame: BlobFrame) -> Blob | None:
        """Add a piece; return the blob when it is whole.

        Raises:
            JobError: ``blob_invalid``: out of order, or beyond the declared size or limit.
            WrongBlobDigest: the whole has another digest.
        """
        if frame.id in self._finished:
            raise job_error(ErrorCode.BLOB_INVALID, f"Blob {frame.id} came twice.")
        if frame.id not in self._open:
            self._refuse_unexpected(frame)
            self._declared_bytes += frame.total_bytes
            if self._declared_bytes > self.max_total_bytes:
                raise job_error(ErrorCode.BLOB_INVALID, f"Blobs of more than {self.max_total_bytes} bytes in all.")
            self._open[frame.id] = (frame, bytearray())
        first, data = self._open[frame.id]
        if _whole(frame) != _whole(first):
            raise job_error(ErrorCode.BLOB_INVALID, f"A piece of blob {frame.id} is of another blob than the first.")
        if frame.offset != len(data) or frame.offset + len(frame.data) > first.total_bytes:
            raise job_error(ErrorCode.BLOB_INVALID, f"A piece of blob {frame.id} is out of order or too long.")
        data += frame.data
        if len(data) < first.total_bytes:
            return None
        del self._open[frame.id]
        self._finished.add(frame.id)
        if blob_digest(self.salt, bytes(data)) != first.digest:
            raise WrongBlobDigest(ErrorCode.BLOB_INVALID, f"Blob {frame.id} does not match its digest; send it again.")
        return Blob(frame.id, first.media_type, bytes(data), first.units)

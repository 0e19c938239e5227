"""The files that a job brings: collected after ``accepted``, within the size that the signed request declares."""

import asyncio
from collections.abc import Sequence

from gpunode_protocol.blobs import BlobAssembler
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.messages import BlobFrame
from gpunode_protocol.payloads import BlobRef

DEFAULT_INPUT_LIMIT_BYTES = 25 * 1024 * 1024
"""Of one job's files."""

PIECE_TIMEOUT_S = 20.0
"""A client that sends nothing of its input for so long has given up."""


class InputBudget:
    """How many bytes of input all jobs of this node may hold in memory together.

    Args:
        max_bytes: > 0.
    """

    def __init__(self, max_bytes: int) -> None:
        self._free_bytes = max_bytes

    def take(self, size_bytes: int) -> None:
        """Raise ``busy`` when there is no room; whoever took gives back."""
        if size_bytes > self._free_bytes:
            raise job_error(
                ErrorCode.BUSY,
                "The node holds as many files of other jobs as it may; try another node, or this one later.",
                retry_after_s=PIECE_TIMEOUT_S,
            )
        self._free_bytes -= size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Return what was taken."""
        self._free_bytes += size_bytes


class JobInputs:
    """Collects a job's input blobs.

    Args:
        salt: the job's.
        refs: as the request names them; none: nothing is awaited, and nothing may come.
        max_bytes: of all of them together, > 0.

    Raises:
        JobError: ``invalid_parameters``: the request declares more than ``max_bytes``.
    """

    def __init__(self, salt: bytes, refs: Sequence[BlobRef], max_bytes: int) -> None:
        self.declared_bytes = sum(ref.size_bytes for ref in refs)
        if self.declared_bytes > max_bytes:
            text = f"The job brings {self.declared_bytes:,} bytes; this node takes {max_bytes:,}. Send a smaller file."
            # its owner may have lowered what it takes, so another one may take the job
            raise JobError(code=ErrorCode.INVALID_PARAMETERS, message=text, retryable=True)
        self._salt = salt
        self._refs = tuple(refs)
        self._max_bytes = max_bytes
        self._arrival = asyncio.Event()
        self._begin()

    def _begin(self) -> None:
        self._assembler = BlobAssembler(self._salt, self._max_bytes, self._refs)
        self._files: dict[int, bytes] = {}

    @property
    def is_complete(self) -> bool:
        """Whether everything that was declared is here."""
        return self._assembler.is_complete

    def restart(self) -> None:
        """Another stream takes over and sends the input again, from the beginning."""
        if not self.is_complete:
            self._begin()
            self._arrival.set()

    def receive(self, frame: BlobFrame) -> None:
        """Add a piece. One that comes again after everything is here is ignored.

        Raises:
            JobError: ``blob_invalid``, or ``unexpected_message``: the job brings no files.
        """
        if not self._refs:
            raise job_error(ErrorCode.UNEXPECTED_MESSAGE, "This job takes no blobs.")
        if self.is_complete:
            return
        blob = self._assembler.add(frame)
        if blob is not None:
            self._files[blob.id] = blob.data
        self._arrival.set()

    async def wait(self) -> dict[int, bytes]:
        """Return all files by blob id once they are here.

        Raises:
            JobError: ``blob_invalid``: nothing came for ``PIECE_TIMEOUT_S``.
        """
        while not self.is_complete:
            self._arrival.clear()
            try:
                async with asyncio.timeout(PIECE_TIMEOUT_S):
                    await self._arrival.wait()
            except TimeoutError as error:
                raise job_error(
                    ErrorCode.BLOB_INVALID, f"No more of the job's input came within {PIECE_TIMEOUT_S:g} s."
                ) from error
        return self._files

    def forget(self) -> None:
        """Let go of the files; the engine has them."""
        self._files = {}

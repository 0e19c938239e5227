"""Vouchers: the client's signed, cumulative promise for one segment of a job, payable on its signature alone."""

from typing import ClassVar

from pydantic import model_validator

from gpunode_protocol.signing import ClosedBody
from gpunode_protocol.validation import Count, Digest, JobId, Name, NetworkId, PeerIdField, SegmentNumber, TaskField

VOUCHER_INTERVAL_TOKENS = 64
VOUCHER_INTERVAL_S = 2.0
"""A client vouches after this many tokens or seconds, whichever comes first, for what is not vouched for yet."""
UNVOUCHED_LIMIT_TOKENS = 128
"""A node pauses when this many tokens are not vouched for."""


class Voucher(ClosedBody):
    """Signed by the client; a later one of the same segment has a larger ``count`` or is ``final``.

    start: output units of the job paid to earlier segments; this one covers ``start`` to ``start + count``.
    count: output units received in this segment. input_count: input units, 0 unless final (charged once, by the
    segment that ends the job). digest: the transcript's digest after ``count`` units. final: with ``receipt``, the
    SHA-256 of the receipt's body: the client agrees with it. previous: digest of the last voucher of the segment
    before.
    """

    signature_type: ClassVar[str] = "voucher"

    network: NetworkId
    job: JobId
    segment: SegmentNumber
    node: PeerIdField
    client: PeerIdField
    jti: Name
    task: TaskField
    model: Name
    start: Count
    count: Count
    input_count: Count
    digest: Digest
    final: bool
    receipt: Digest | None = None
    previous: Digest | None = None

    @model_validator(mode="after")
    def _input_belongs_to_the_end(self) -> "Voucher":
        if self.final != (self.receipt is not None) or (self.input_count and not self.final):
            raise ValueError("the final voucher, and no other, names a receipt and bills input")
        return self

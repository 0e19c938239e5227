"""Receipts: the node's signed statement of what it did; with the client's final voucher it is co-signed."""

from typing import Annotated, ClassVar

from annotated_types import MaxLen

from gpunode_protocol.payloads import Usage
from gpunode_protocol.signing import ClosedBody
from gpunode_protocol.validation import (
    Count,
    Digest,
    Fingerprint,
    JobId,
    Name,
    NetworkId,
    PeerIdField,
    SegmentNumber,
    TaskField,
    UnixSeconds,
)


class Receipt(ClosedBody):
    """Signed by the node when a segment ends.

    request_digest: ``salted_digest(salt, "request", signed request body)``. output_digest: of the transcript.
    parameters: the request's scalar parameters (no prompt). start: as in the voucher. ttft_ms, duration_ms: from the
    request's arrival, monotonic clock. previous_voucher: digest of the last voucher that the node holds, if any.
    finished_at: Unix seconds.
    """

    signature_type: ClassVar[str] = "receipt"

    network: NetworkId
    job: JobId
    segment: SegmentNumber
    node: PeerIdField
    client: PeerIdField
    jti: Name
    task: TaskField
    model: Name
    fingerprint: Fingerprint
    request_digest: Digest
    output_digest: Digest
    parameters: dict[Annotated[str, MaxLen(64)], int | bool | Annotated[str, MaxLen(64)]]
    usage: Usage
    start: Count
    ttft_ms: Count
    duration_ms: Count
    finish_reason: Annotated[str, MaxLen(32)]
    previous_voucher: Digest | None = None
    finished_at: UnixSeconds


# Parameters that say how, not what: safe to keep in a ledger.
_RECORDED = frozenset(
    {
        "max_tokens",
        "temperature_millionths",
        "top_p_millionths",
        "top_k",
        "min_p_millionths",
        "repetition_penalty_millionths",
        "seed",
        "mode",
        "width",
        "height",
        "steps",
        "guidance_millionths",
        "strength_millionths",
        "n",
        "format",
        "max_audio_ms",
        "start_ms",
        "word_timestamps",
        "vad",
        "normalize",
    }
)


def recorded_parameters(params: dict[str, object]) -> dict[str, int | bool | str]:
    """Return the parameters that a receipt binds: numbers and choices, never texts of the user."""
    return {
        name: value
        for name, value in params.items()
        if name in _RECORDED and isinstance(value, int | bool | str) and len(str(value)) <= 64
    }

"""What a client checks before it signs the final voucher, and what anyone can check of a receipt with its voucher."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gpunode_protocol.canonical import encode
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.errors import AnswerFault, ProtocolError, VerificationFailed
from gpunode_protocol.identity import public_key_of
from gpunode_protocol.messages import AcceptedFrame, DoneFrame
from gpunode_protocol.outputs import OutputLog
from gpunode_protocol.payloads import ImageParams, Params, SpeechParams, Usage
from gpunode_protocol.prices import input_units, output_units
from gpunode_protocol.receipts import Receipt, recorded_parameters
from gpunode_protocol.requests import JobRequest, task_of
from gpunode_protocol.signing import Envelope, Signed, open_self_named, open_signed
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import Voucher

_FAULTS: Final[Mapping[str, AnswerFault]] = MappingProxyType({"output": "bad_digest", "usage": "bad_usage"})
"""What a node is reported for whose receipt states another output or usage; for all else it is ``bad_receipt``."""


@dataclass(frozen=True)
class Received:
    """What the client knows of a segment: what it asked, what was quoted and what came."""

    request: Signed[JobRequest]
    jti: str
    params: Params
    accepted: AcceptedFrame
    output: OutputLog
    voucher_digests: frozenset[bytes]


def check_receipt(done: DoneFrame, received: Received) -> Signed[Receipt]:
    """Check ``done`` against what was received.

    Raises:
        VerificationFailed: naming the first thing that differs; nothing more should be paid.
    """
    body = received.request.body
    try:
        receipt = open_signed(Receipt, done.receipt, public_key_of(body.node))
    except ProtocolError as error:
        raise VerificationFailed(f"The node's receipt does not verify: {error}") from error
    r = receipt.body
    expected: list[tuple[str, object, object]] = [
        ("network", r.network, body.network),
        ("job", r.job, body.job),
        ("segment", r.segment, body.segment),
        ("node", r.node, body.node),
        ("client", r.client, body.client),
        ("grant", r.jti, received.jti),
        ("task", r.task, body.task),
        ("model", r.model, body.model),
        ("fingerprint", r.fingerprint, received.accepted.fingerprint),
        ("request", r.request_digest, salted_digest(body.salt, "request", received.request.envelope.body)),
        ("output", r.output_digest, received.output.digest()),
        ("output", done.digest, r.output_digest),
        ("usage", done.usage, r.usage),
        # by their bytes, because True == 1 here and nowhere else
        ("parameters", encode(r.parameters), encode(recorded_parameters(body.params))),
        ("start", r.start, body.start),
        ("finish reason", r.finish_reason, done.finish_reason),
        ("usage", r.usage, expected_usage(received)),
    ]
    for name, got, wanted in expected:
        if got != wanted:
            raise VerificationFailed(
                f"The node's receipt states another {name} than what was received.",
                fault=_FAULTS.get(name, "bad_receipt"),
            )
    if r.previous_voucher is not None and r.previous_voucher not in received.voucher_digests:
        raise VerificationFailed("The node's receipt names a voucher that this client did not sign.")
    return receipt


def expected_usage(received: Received) -> Usage:
    """Return the usage that the node must state for what was received."""
    resume = received.request.body.resume
    output, accepted = received.output, received.accepted
    task = task_of(received.request.body.task)
    return Usage(
        input_tokens=accepted.prompt_tokens,
        output_tokens=output.tokens,
        resumed_tokens=len(resume.ids) if resume else 0,
        images=output.images if isinstance(received.params, ImageParams) else 0,
        image_units=output.count if task is Task.IMAGE_GEN else 0,
        audio_ms=output.count if isinstance(received.params, SpeechParams) else 0,
    )


def check_pair(receipt_envelope: Envelope, voucher_envelope: Envelope) -> tuple[Signed[Receipt], Signed[Voucher]]:
    """Check a receipt and the final voucher that agrees with it: both signatures, and that they fit together.

    Raises:
        ProtocolError: a body or signature that does not verify.
        VerificationFailed: they are not of one job, or state different amounts.
    """
    receipt = open_receipt(receipt_envelope)
    voucher = open_voucher(voucher_envelope)
    r, v = receipt.body, voucher.body
    same = (r.network, r.job, r.segment, r.node, r.client, r.jti, r.task, r.model, r.start) == (
        v.network,
        v.job,
        v.segment,
        v.node,
        v.client,
        v.jti,
        v.task,
        v.model,
        v.start,
    )
    if not same or not v.final or v.receipt != receipt.digest or v.digest != r.output_digest:
        raise VerificationFailed("The voucher does not agree with this receipt.")
    if v.count != output_units(r.task, r.usage) or v.input_count != input_units(r.task, r.usage):
        raise VerificationFailed("Voucher and receipt state different amounts.")
    return receipt, voucher


def open_receipt(envelope: Envelope) -> Signed[Receipt]:
    """Check a receipt by the key of the node that it names."""
    return open_self_named(Receipt, envelope, lambda body: public_key_of(body.node))


def open_voucher(envelope: Envelope) -> Signed[Voucher]:
    """Check a voucher by the key of the client that it names."""
    return open_self_named(Voucher, envelope, lambda body: public_key_of(body.client))

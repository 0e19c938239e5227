"""A submission becomes what is kept of it: checked, completed, measured. Pure; large ones take a second of work."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from gpunode._image_defaults import image_defaults
from gpunode_protocol.digests import SALT_BYTES
from gpunode_protocol.job_params import ImageJobParams, JobParams, read_job_params
from gpunode_protocol.jobs_api import JobSubmission
from gpunode_protocol.payloads import input_tokens_bound, worst_case_output_units

from gpunode_tracker.webhooks.url import WebhookUrl, check_url

_NO_SALT: Final = bytes(SALT_BYTES)
_DEFAULTED: Final = ("width", "height", "steps", "guidance")


@dataclass(frozen=True)
class PreparedJob:
    """A submission that can be kept.

    params: JSON text, with whatever its price depends on. input_units, output_units: at most, in the price's units.
    digest: SHA-256 of the submission's content. webhook: its checked address.
    """

    submission: JobSubmission
    params: bytes
    input_units: int
    output_units: int
    digest: bytes
    webhook: WebhookUrl | None


def prepare(submission: JobSubmission, *, model: str | None, now: int) -> PreparedJob:
    """Check a submission before anything is reserved for it.

    Args:
        submission: the client's.
        model: what it will probably be done with, for defaults; None = nobody knows.
        now: Unix seconds.

    Raises:
        JobError: ``invalid_parameters``, naming what is wrong. InvalidRequest: a webhook that can never be told.
    """
    webhook = check_url(submission.webhook) if submission.webhook is not None else None
    params = read_job_params(submission.type, submission.params)
    params, value = _completed(params, submission.params, model)
    order = params.to_order(_NO_SALT, now)
    params.check()  # after it: what is too long is refused before it is looked into
    return PreparedJob(
        submission=submission,
        params=json.dumps(value, separators=(",", ":")).encode(),
        input_units=input_tokens_bound(order.params),
        output_units=worst_case_output_units(order.params),
        digest=hashlib.sha256(json.dumps(submission.model_dump(mode="json"), sort_keys=True).encode()).digest(),
        webhook=webhook,
    )


def _completed(params: JobParams, value: dict[str, Any], model: str | None) -> tuple[JobParams, dict[str, Any]]:
    """Write the model's defaults into what is kept of an image job: they decide what it may cost."""
    if not isinstance(params, ImageJobParams):
        return params, value
    width, height, steps, guidance = image_defaults(model)
    completed = params.with_defaults(width=width, height=height, steps=steps, guidance=guidance)
    added = {name: getattr(completed, name) for name in _DEFAULTED if getattr(completed, name) is not None}
    return completed, value | added

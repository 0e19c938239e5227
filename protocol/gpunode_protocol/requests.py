"""The signed request that opens a job."""

from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import FailFast, model_validator

from gpunode_protocol.digests import SALT_BYTES
from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.payloads import Params, read_params
from gpunode_protocol.signing import SignedBody, WireModel
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import (
    Count,
    Digest,
    Fingerprint,
    JobId,
    Name,
    NetworkId,
    PeerIdField,
    SegmentNumber,
    UnixSeconds,
)

ISSUED_AT_TOLERANCE_S = 60
"""A request's ``issued_at`` may be this far from the node's clock, either way."""

MAX_RESUME_IDS = 200_000
"""Tokens of an answer that a node goes on with."""


def task_of(name: str) -> Task:
    """Return the task of a name.

    Raises:
        JobError: ``unknown_task``.
    """
    try:
        return Task(name)
    except ValueError as error:
        known = ", ".join(Task)
        raise job_error(ErrorCode.UNKNOWN_TASK, f"There is no task {name!r}; the tasks are {known}.") from error


class Resume(WireModel):
    """Where another node's answer was cut.

    ids: every token received so far, all segments. text_offset: UTF-8 bytes of their text already shown.
    prompt_digest: as quoted by the first node; the new one must render the same prompt.
    """

    ids: Annotated[tuple[Annotated[int, Ge(0), Le(2**32 - 1)], ...], MinLen(1), MaxLen(MAX_RESUME_IDS), FailFast()]
    text_offset: Count
    prompt_digest: Digest


class JobRequest(SignedBody):
    """Signed by the client for exactly one node.

    job: UUIDv7. segment: 0, then one more for each resume or restart. grant: the JWT. issued_at, deadline_at: Unix
    seconds. model: the name that the node advertises. fingerprint: required weights, or absent. params: the task's
    parameters. salt: 32 random bytes, one a job. start: output units of this job paid to earlier segments.
    previous_voucher: digest of the last voucher of the segment before, 32 bytes, or absent.
    """

    signature_type: ClassVar[str] = "request"

    network: NetworkId
    job: JobId
    segment: SegmentNumber
    client: PeerIdField
    node: PeerIdField
    grant: Annotated[str, MinLen(1), MaxLen(8_192)]
    issued_at: UnixSeconds
    deadline_at: UnixSeconds
    task: Annotated[str, MaxLen(32)]
    model: Name
    fingerprint: Fingerprint | None = None
    params: dict[str, Any]
    salt: Annotated[bytes, MinLen(SALT_BYTES), MaxLen(SALT_BYTES)]
    start: Count = 0
    previous_voucher: Digest | None = None
    resume: Resume | None = None

    @model_validator(mode="after")
    def _only_chats_resume(self) -> "JobRequest":
        if self.resume is not None and self.task != Task.LLM:
            raise ValueError("resume is for the task llm only")
        return self

    def read_params(self) -> Params:
        """Return the task's parameters.

        Raises:
            JobError: ``unknown_task`` or ``invalid_parameters``.
        """
        return read_params(task_of(self.task), self.params)

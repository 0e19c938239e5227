"""The steps of a job that differ from task to task; ``JobRun`` does what is the same for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gpunode_engines.base import Engine, EngineInfo, WorkRequest
from gpunode_engines.errors import EngineError, SchemaNotHeld
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.outputs import OutputLog
from gpunode_protocol.payloads import Params, Usage
from gpunode_protocol.requests import JobRequest

RETRY_AFTER_S = 2.0
"""When an engine that is being restarted may be asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is known of a job's input before the job is accepted.

    input_tokens: quoted to the client. input_units: billed, resumed ids included. digest: salted, of what the model
    gets to read (``accepted.prompt_digest``).
    """

    input_tokens: int
    input_units: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOrder:
    """What an engine is told beside the parameters. inputs: files by blob id. deadline_s: seconds, > 0."""

    job_key: str
    deadline_s: float
    inputs: Mapping[int, bytes]


class Work(Protocol):
    """One job's task. Made by ``work_of`` for each request."""

    @property
    def params(self) -> Params:
        """The signed parameters."""
        ...

    async def prepare(self, engine: Engine) -> Prepared:
        """Render, count and check, before the job is accepted.

        Raises:
            EngineError: the loaded model cannot do this. JobError: nor this node.
        """
        ...

    def order(self, order: JobOrder) -> WorkRequest:
        """Return what the engine is asked; called after ``prepare``."""
        ...

    def time_limit_s(self, text_limit_s: float) -> float:
        """Return how long the job may hold a slot, seconds; ``text_limit_s``: this node's limit for text."""
        ...

    def usage(self, prepared: Prepared, output: OutputLog) -> Usage:
        """Return what was used, as the receipt states it."""
        ...


def check_weights(request: JobRequest, info: EngineInfo) -> None:
    """Check that the loaded weights are the ones that the request needs.

    Raises:
        JobError: ``fingerprint_mismatch`` or ``resume_refused``.
    """
    if request.fingerprint is not None and request.fingerprint != info.fingerprint:
        raise job_error(ErrorCode.FINGERPRINT_MISMATCH, f"This node serves other weights of {info.model}.")
    if request.resume is not None and request.fingerprint is None:
        raise job_error(
            ErrorCode.RESUME_REFUSED, "A resumed job must name the fingerprint of the weights it began with."
        )


def job_error_of_engine(error: EngineError) -> JobError:
    """Return the wire error for an engine's failure. What this engine cannot hold a model to, another one may."""
    if isinstance(error, SchemaNotHeld):
        return JobError(code=error.code, message=str(error), retryable=True)
    return job_error(error.code, str(error), retry_after_s=RETRY_AFTER_S if error.code is ErrorCode.BUSY else None)

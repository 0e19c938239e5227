"""Which jobs cost this node an engine: one that does so again and again takes everybody else's jobs with it."""

from collections import OrderedDict
from typing import Final

from gpunode_engines.errors import EngineError, EngineLost, EngineStartFailed, EngineStopped
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.identity import PeerId
from gpunode_protocol.requests import JobRequest

MOST_ENGINES_PER_JOB: Final = 2
"""The first loss may have been another job's fault, or nobody's."""
_MOST_REMEMBERED: Final = 1_024
"""Jobs; the oldest are forgotten."""


class EngineLosses:
    """Counts by client and job, whatever segment of it ran. Kept in memory: a new process has new engines."""

    def __init__(self) -> None:
        self._lost: OrderedDict[tuple[PeerId, str], int] = OrderedDict()

    def note(self, request: JobRequest, job_key: str, error: EngineError) -> None:
        """Count an error with which a job ended, if its engine was lost with it, and not by another job.

        Args:
            request: of the job.
            job_key: by which the engine knows it.
            error: with which it ended.
        """
        if not isinstance(error, EngineLost) or isinstance(error, EngineStopped | EngineStartFailed):
            return
        if error.blamed not in {"", job_key}:
            return
        name = (request.client, request.job)
        self._lost[name] = self._lost.pop(name, 0) + 1
        while len(self._lost) > _MOST_REMEMBERED:
            self._lost.popitem(last=False)

    def check(self, request: JobRequest) -> None:
        """Refuse a job that was lost with its engine as often as it may be.

        Raises:
            JobError: ``invalid_parameters``; another node may be tried.
        """
        if self._lost.get((request.client, request.job), 0) >= MOST_ENGINES_PER_JOB:
            raise JobError(
                code=ErrorCode.INVALID_PARAMETERS,
                message=f"The engine was lost {MOST_ENGINES_PER_JOB} times while it worked on this job, so this node "
                "does not try it again; the request may be what breaks it.",
                retryable=True,
            )

"""Which failures are the job's own fault, so that no other worker needs to try. Pure."""

from typing import Final

from gpunode_protocol.errors import ErrorCode, JobError

_ALIKE_EVERYWHERE: Final = frozenset({ErrorCode.INVALID_PARAMETERS, ErrorCode.CONTEXT_OVERFLOW, ErrorCode.OUTPUT_LIMIT})
"""What follows from parameters and files alone. All else may be this worker's: the tracker signs the request, so codes
on signature, grant, times and digests tell of a clock, a key or a version here."""


def is_fault_of_the_job(error: JobError, *, has_whole_context: bool) -> bool:
    """Return whether every worker would fail alike.

    Args:
        error: how the job ended here; one that says that others may be tried is believed.
        has_whole_context: whether the model has the longest context here that it has anywhere.
    """
    if error.code is ErrorCode.CONTEXT_OVERFLOW and not has_whole_context:
        return False
    return error.code in _ALIKE_EVERYWHERE and not error.retryable

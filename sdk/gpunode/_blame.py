"""Whose fault it is that an attempt failed. Pure."""

from enum import Enum, auto
from typing import Final

from gpunode_protocol.errors import ErrorCode, FalseFrame, GpunodeError, JobError, VerificationFailed

_NO_ROOM: Final = frozenset({ErrorCode.BUSY, ErrorCode.DRAINING, ErrorCode.TOO_MANY_STREAMS})
_GRANT_SPENT: Final = frozenset({ErrorCode.GRANT_EXHAUSTED, ErrorCode.REPLAY_MEMORY_FULL})
_REQUEST: Final = frozenset(
    {
        ErrorCode.INVALID_PARAMETERS,
        ErrorCode.UNKNOWN_TASK,
        ErrorCode.TASK_NOT_ALLOWED,
        ErrorCode.BLOB_INVALID,
        ErrorCode.CONTEXT_OVERFLOW,
    }
)
"""Every node would refuse alike, if it is true."""


class Blame(Enum):
    """What an attempt failed by."""

    NODE = auto()  #: it broke off, was too slow, lied, or cannot be reached
    LOAD = auto()  #: it has no room, or is about to leave
    GRANT = auto()  #: it takes no more under this client's grants for now
    REQUEST = auto()  #: it says that the request is at fault
    UNFIT = auto()  #: it cannot go on with what another node began
    DEADLINE = auto()  #: the caller's own time is over


def blame_for(error: GpunodeError, told: JobError | None) -> Blame:
    """Return whose fault an attempt's error is. told: the error that the node said itself, None = it said none."""
    if not isinstance(error, JobError):
        return Blame.NODE
    if error.code in _NO_ROOM:
        return Blame.LOAD
    if error.code in _GRANT_SPENT:
        return Blame.GRANT
    if error.code is ErrorCode.RESUME_REFUSED:
        return Blame.UNFIT
    if told is not None and error.code in _REQUEST:
        return Blame.REQUEST
    if told is None and error.code is ErrorCode.DEADLINE_PASSED:
        return Blame.DEADLINE
    return Blame.NODE


def voids_answer(error: GpunodeError | None) -> bool:
    """Return whether an error speaks against the whole answer, so that nothing more of it is paid."""
    return isinstance(error, VerificationFailed) and not isinstance(error, FalseFrame)

"""What is to become of a queued job whose attempt failed. Pure."""

from enum import StrEnum

from gpunode.errors import InvalidRequest, NoNodeFound, RequestRefused
from gpunode_protocol.errors import JobError

from gpunode_tracker import errors


class End(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"  #: nobody else could do it either
    RETRIED = "retried"  #: the attempt counts; after the last one the job has failed
    RETURNED = "returned"  #: back in the queue as if it had not been taken: nobody failed
    LOST = "lost"  #: cancelled, or given to somebody else


_NOBODY_COULD = (
    RequestRefused,  # by a node, for a reason that holds at every node
    InvalidRequest,
    JobError,  # parameters that cannot be signed
    errors.KeysUnusable,
    errors.InsufficientCredits,
    errors.Forbidden,
)


def end_after(error: Exception) -> End:
    """Return what a failure means for the job."""
    if isinstance(error, NoNodeFound) and error.is_only_load:
        return End.RETURNED
    if isinstance(error, errors.Conflict):
        return End.LOST
    if isinstance(error, errors.StorageUnavailable | errors.NoSigningKey):
        return End.RETURNED
    return End.FAILED if isinstance(error, _NOBODY_COULD) else End.RETRIED

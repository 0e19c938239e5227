import pytest
from gpunode.errors import AnswerInterrupted, ClockOff, NoNodeFound, RequestRefused
from gpunode.types import Route
from gpunode_protocol.errors import ErrorCode, VerificationFailed, job_error
from gpunode_tracker.dispatch.verdicts import End, end_after
from gpunode_tracker.errors import (
    Conflict,
    Forbidden,
    InsufficientCredits,
    KeysUnusable,
    NoSigningKey,
    StorageUnavailable,
)

ROUTE = Route("n", "asia", None, "direct", "dht")


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (NoNodeFound("all are full"), End.RETURNED),
        (NoNodeFound("they failed", is_only_load=False), End.RETRIED),
        (AnswerInterrupted("cut", text="", ids=(), route=ROUTE, job="j"), End.RETRIED),
        (VerificationFailed("a wrong receipt"), End.RETRIED),
        (ClockOff("by an hour"), End.RETRIED),
        (ValueError("a mistake of ours"), End.RETRIED),
        (RequestRefused("too long", code=ErrorCode.CONTEXT_OVERFLOW, node="n"), End.FAILED),
        (job_error(ErrorCode.INVALID_PARAMETERS, "no messages"), End.FAILED),
        (InsufficientCredits(balance_microcredits=0, wanted_microcredits=1), End.FAILED),
        (KeysUnusable("lost"), End.FAILED),
        (NoSigningKey("not here yet"), End.RETURNED),
        (Forbidden("revoked"), End.FAILED),
        (Conflict("it has ended"), End.LOST),
        (StorageUnavailable(), End.RETURNED),
    ],
)
def test_what_a_failure_means_for_the_job(error: Exception, end: End) -> None:
    """Another try only where somebody else may do better; no attempt is counted where nobody tried."""
    assert end_after(error) is end

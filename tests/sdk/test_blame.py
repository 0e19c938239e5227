import pytest
from gpunode._blame import Blame, blame_for, voids_answer
from gpunode_protocol.errors import ErrorCode, FalseFrame, MalformedMessage, VerificationFailed, job_error


@pytest.mark.parametrize(
    ("code", "blame"),
    [
        (ErrorCode.BUSY, Blame.LOAD),
        (ErrorCode.DRAINING, Blame.LOAD),
        (ErrorCode.TOO_MANY_STREAMS, Blame.LOAD),
        (ErrorCode.GRANT_EXHAUSTED, Blame.GRANT),
        (ErrorCode.REPLAY_MEMORY_FULL, Blame.GRANT),
        (ErrorCode.INVALID_PARAMETERS, Blame.REQUEST),
        (ErrorCode.UNKNOWN_TASK, Blame.REQUEST),
        (ErrorCode.TASK_NOT_ALLOWED, Blame.REQUEST),
        (ErrorCode.BLOB_INVALID, Blame.REQUEST),
        (ErrorCode.CONTEXT_OVERFLOW, Blame.REQUEST),
        (ErrorCode.DEADLINE_PASSED, Blame.NODE),
        (ErrorCode.RESUME_REFUSED, Blame.UNFIT),
        (ErrorCode.GRANT_INVALID, Blame.NODE),
        (ErrorCode.ENGINE_FAILED, Blame.NODE),
    ],
)
def test_what_a_node_says(code: ErrorCode, blame: Blame) -> None:
    """What a node need not have caused is not held against it."""
    error = job_error(code, "said the node")
    assert blame_for(error, error) is blame


def test_what_the_client_finds() -> None:
    """Nothing that is wrong with a node's frames is the request's fault; the caller's own deadline is nobody's."""
    for error in (MalformedMessage(), FalseFrame(), VerificationFailed(), job_error(ErrorCode.INTERNAL, "cut")):
        assert blame_for(error, None) is Blame.NODE
    assert blame_for(job_error(ErrorCode.INVALID_PARAMETERS, "no"), None) is Blame.NODE
    assert blame_for(job_error(ErrorCode.DEADLINE_PASSED, "over"), None) is Blame.DEADLINE


def test_what_speaks_against_the_whole_answer() -> None:
    """A bad receipt does; a single frame that is not true, or a cut, does not."""
    assert voids_answer(VerificationFailed())
    assert not any(map(voids_answer, (FalseFrame(), job_error(ErrorCode.INTERNAL, "cut"), None)))

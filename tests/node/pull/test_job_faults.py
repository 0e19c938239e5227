"""Which failures are the job's own."""

import pytest
from gpunode_node.pull.job_faults import is_fault_of_the_job
from gpunode_protocol.errors import RETRYABLE, ErrorCode, JobError, job_error

OF_THE_JOB = {ErrorCode.INVALID_PARAMETERS, ErrorCode.CONTEXT_OVERFLOW, ErrorCode.OUTPUT_LIMIT}


@pytest.mark.parametrize("code", ErrorCode)
def test_by_code(code: ErrorCode) -> None:
    """What is wrong with the request's making is not the client's fault: the tracker made it."""
    assert is_fault_of_the_job(job_error(code, "x"), has_whole_context=True) is (code in OF_THE_JOB)


def test_none_that_the_protocol_has_tried_elsewhere() -> None:
    """Both tables agree."""
    assert set() == OF_THE_JOB & RETRYABLE


@pytest.mark.parametrize("code", sorted(OF_THE_JOB))
def test_what_is_said_to_be_this_workers(code: ErrorCode) -> None:
    """An engine that lacks an ability, or a limit of the owner's."""
    assert not is_fault_of_the_job(JobError(code, "x", retryable=True), has_whole_context=True)


def test_a_context_that_was_cut_here() -> None:
    """Another worker may have more memory for the same model."""
    overflow = job_error(ErrorCode.CONTEXT_OVERFLOW, "x")
    assert not is_fault_of_the_job(overflow, has_whole_context=False)
    assert is_fault_of_the_job(job_error(ErrorCode.INVALID_PARAMETERS, "x"), has_whole_context=False)

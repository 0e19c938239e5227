"""What can be said of one queued job."""

import pytest
from gpunode_protocol.job_ids import new_job_id
from gpunode_tracker.jobs.job import JobStatus, dispatch_holder, is_job_id, worker_holder

from tests.tracker.parties import START_AT


def test_final_states() -> None:
    """Nothing leaves them."""
    assert {status for status in JobStatus if status.is_final} == {"completed", "failed", "cancelled"}


def test_names_of_holders() -> None:
    """A worker is never taken for a tracker's dispatch."""
    assert (worker_holder("a"), dispatch_holder("a")) == ("worker:a", "dispatch:a")


def test_ids_of_jobs() -> None:
    """What was made here is one."""
    assert is_job_id(new_job_id(START_AT))


@pytest.mark.parametrize(
    "text", ["", "x", "01900000-0000-4000-8000-000000000001", "01900000-0000-7000-8000-00000000000A", "\0" * 36]
)
def test_what_is_no_id(text: str) -> None:
    """Another version of UUID, capitals, anything else: such jobs are not asked for."""
    assert not is_job_id(text)


def test_an_id_is_the_whole_text() -> None:
    """Nothing may follow it, not even a line break."""
    assert not is_job_id(new_job_id(START_AT) + "\n")

"""Ids of jobs."""

from uuid import UUID

from gpunode_protocol.job_ids import new_job_id
from gpunode_protocol.validation import JobId
from pydantic import TypeAdapter

from tests.protocol.samples import NOW


def test_job_ids_are_uuids_of_version_7() -> None:
    """They begin with the time in milliseconds and never repeat."""
    ids = [UUID(new_job_id(NOW + 0.123)) for _ in range(100)]
    assert {(made.version, made.variant) for made in ids} == {(7, "specified in RFC 4122")}
    assert {made.int >> 80 for made in ids} == {NOW * 1000 + 123}
    assert len(set(ids)) == 100


def test_the_wire_takes_them() -> None:
    """Requests, vouchers and receipts name jobs by them."""
    made = new_job_id(NOW)
    assert TypeAdapter(JobId).validate_python(made) == made


def test_they_are_in_the_order_of_time() -> None:
    """Newer ones sort after older ones, as text too."""
    ids = [new_job_id(NOW + number) for number in range(20)]
    assert sorted(ids) == ids

"""Statements of the queue are made once."""

import pytest
from gpunode_tracker.jobs.job import dispatch_holder, worker_holder
from gpunode_tracker.storage.claim_statements import (
    SHUN_S,
    claim_values,
    heads_of,
    lock_head,
    room,
    shuns,
    take_first,
    take_locked,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement


def test_the_same_statement_serves_all_lanes_of_a_number() -> None:
    """Only their values differ, and dispatch's has no look at who failed what."""
    assert take_first(3, shunning=True) is take_first(3, shunning=True)
    assert take_first(3, shunning=True) is not take_first(2, shunning=True)
    assert "job_attempts" in str(lock_head(shunning=True))
    assert "job_attempts" not in str(lock_head(shunning=False))


@pytest.mark.parametrize(
    "statement",
    [take_first(2, shunning=True, limited=True), heads_of(2, shunning=True), take_locked(), room()],
)
def test_every_value_is_bound(statement: ClauseElement) -> None:
    """By a name that ``claim_values`` knows, or that of the job that was found."""
    values = claim_values("worker:w", ("a", "b"), now=1_000, lease_s=60) | {"found_id": "j", "most": 4}
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        bound = {name for name, value in statement.compile(dialect=dialect).params.items() if value is None}
        assert bound - {"node", "request"} <= set(values)


def test_values() -> None:
    """A worker's id is kept with the job; failures count for a minute."""
    values = claim_values(worker_holder("w"), ("a", "b"), now=1_000, lease_s=60)
    assert values == {
        "lane_0": "a",
        "lane_1": "b",
        "of_holder": "worker:w",
        "failed_since": 1_000 - SHUN_S,
        "taken_by": "w",
        "taken_at": 1_000,
        "taken_until": 1_060,
    }
    assert claim_values(dispatch_holder("r"), (), now=1_000, lease_s=60)["taken_by"] is None


def test_only_workers_shun_what_they_failed() -> None:
    """Dispatch asks another node each time by itself."""
    assert shuns(worker_holder("w"))
    assert not shuns(dispatch_holder("r"))

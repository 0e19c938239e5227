"""Statements of the queue are made once."""

import pytest
from gpunode_tracker.jobs.job import dispatch_holder, worker_holder
from gpunode_tracker.storage.claim_statements import (
    ALONE_SHUN_S,
    SHUN_S,
    claim_values,
    heads_of,
    lock_head,
    room,
    take_first,
    take_locked,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement


def test_the_same_statement_serves_all_lanes_of_a_number() -> None:
    """Only their values differ."""
    assert take_first(3) is take_first(3)
    assert take_first(3) is not take_first(2)
    assert lock_head() is lock_head()


@pytest.mark.parametrize(
    "statement",
    [take_first(2, limited=True), heads_of(2), take_locked(), room()],
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
        "came_before_0": 2**62,
        "came_before_1": 2**62,
        "of_holder": "worker:w",
        "failed_by": "worker:w",
        "failed_since": 1_000 - SHUN_S,
        "tries": 1,
        "taken_by": "w",
        "taken_at": 1_000,
        "taken_until": 1_060,
    }


def test_failures_of_dispatch_are_those_of_all_replicas() -> None:
    """Behind each are the same nodes; and of these as many may be tried as there are."""
    values = claim_values(dispatch_holder("r"), (), now=1_000, lease_s=60, shun_s=ALONE_SHUN_S, tries=3)
    assert (values["failed_by"], values["failed_since"], values["tries"]) == ("dispatch:%", 990, 3)
    assert values["taken_by"] is None

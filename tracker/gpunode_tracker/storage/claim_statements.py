"""The statements by which a job is taken out of the queue, made once for each number of lanes.

Making one takes longer than executing it. Values are bound by name: see ``claim_values``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Select,
    Text,
    Update,
    bindparam,
    func,
    literal_column,
    select,
    union_all,
    update,
)

from gpunode_tracker.jobs.job import DISPATCH_HOLDER, WORKER_HOLDER, JobStatus
from gpunode_tracker.jobs.queue_order import AGING_MS
from gpunode_tracker.storage.tables import job_attempts, jobs, workers

SHUN_S: Final = 60
"""A worker that failed a job gets it again only when nobody else took it for so long after that, in seconds."""
ALONE_SHUN_S: Final = 10
"""The same where nobody else could do it. A policy: an engine has time to start anew, and a client that waits 60 s for
its job sees all three attempts. Mesh nodes leave a job alone for so long that they have failed as often as there are
nodes: each attempt is made by another one."""

_SHAPES: Final = 256
"""Statements that are remembered of each kind: there are two for each number of lanes, up to 64 of these."""
_NEVER_MS: Final = 2**62
_WAITING: Final = jobs.alias("waiting")
# written out, not bound: only so does the partial index of the queue serve
_QUEUED: Final[ColumnElement[bool]] = jobs.c.status == literal_column("'queued'")
_WAITS: Final[ColumnElement[bool]] = _WAITING.c.status == literal_column("'queued'")
# likewise: PostgreSQL takes a bound limit for a tenth of the table, and may sort that
_ONE: Final[ColumnElement[int]] = literal_column("1")
_MOST: Final[ColumnElement[int]] = bindparam("most", type_=BigInteger)


@dataclass(frozen=True)
class OlderOnly:
    """Lanes of which only jobs are wanted that came before an instant, Unix milliseconds: younger ones are others'."""

    lanes: Collection[str] = ()
    before_ms: int = 0


ANY_AGE: Final = OlderOnly()


def claim_values(
    holder: str,
    lanes: Sequence[str],
    *,
    now: int,
    lease_s: int,
    shun_s: int = SHUN_S,
    tries: int = 1,
    older_only: OlderOnly = OlderOnly(),
) -> dict[str, Any]:
    """Return what is bound in these statements; see ``storage.jobs.claim_job``."""
    values: dict[str, Any] = {}
    for number, lane in enumerate(lanes):
        values |= lane_values(number, lane, older_only)
    is_dispatch = holder.startswith(DISPATCH_HOLDER)
    return values | {
        "of_holder": holder,
        "failed_by": f"{DISPATCH_HOLDER}%" if is_dispatch else holder,
        "failed_since": now - shun_s,
        "tries": tries,
        "taken_by": holder.removeprefix(WORKER_HOLDER) if holder.startswith(WORKER_HOLDER) else None,
        "taken_at": now,
        "taken_until": now + lease_s,
    }


def lane_values(number: int, lane: str, older_only: OlderOnly) -> dict[str, Any]:
    """Return what is bound for one lane."""
    before_ms = older_only.before_ms if lane in older_only.lanes else _NEVER_MS
    return {f"lane_{number}": lane, f"came_before_{number}": before_ms}


@lru_cache(_SHAPES)
def take_first(lanes: int, *, limited: bool = False) -> Update:
    """Return the statement that takes the first job of some lanes, where writers take turns.

    limited: only if the worker ``taken_by`` works, and holds less than ``most`` jobs.
    """
    heads = [_head(number).subquery() for number in range(lanes)]
    found = union_all(*(select(head.c.id, head.c.rank) for head in heads)).subquery()
    first = select(found.c.id).order_by(found.c.rank, found.c.id).limit(_ONE).scalar_subquery()
    limits = (works(bindparam("taken_by", type_=Text)).exists(), held(bindparam("of_holder", type_=Text)) < _MOST)
    return _take(jobs.c.id == first, *(limits if limited else ()))


def works(worker_id: ColumnElement[str]) -> Select[Any]:
    """Return the query for a worker that is to get jobs: it did not leave, and is not in maintenance."""
    is_there = workers.c.id == worker_id, ~workers.c.maintenance, workers.c.deregistered_at.is_(None)
    return select(literal_column("1")).select_from(workers).where(*is_there)


def held(holder: ColumnElement[str]) -> ScalarSelect[int]:
    """Return the query for the number of jobs that somebody holds."""
    is_open = job_attempts.c.holder == holder, job_attempts.c.ended_at.is_(None)
    return select(func.count()).select_from(job_attempts).where(*is_open).scalar_subquery()


@lru_cache(1)
def lock_worker() -> Select[Any]:
    """Return the statement that keeps others from giving jobs to the worker ``taken_by`` until the transaction ends."""
    return select(workers.c.id).where(workers.c.id == bindparam("taken_by", type_=Text)).with_for_update()


@lru_cache(1)
def room() -> Select[Any]:
    """Return the query that finds a row if that worker works, and holds less than ``most`` jobs."""
    query = works(bindparam("taken_by", type_=Text))
    return query.where(held(bindparam("of_holder", type_=Text)) < _MOST)


@lru_cache(_SHAPES)
def heads_of(lanes: int) -> Select[Any]:
    """Return the query for the first job of each lane that has one for the holder, in order of rank."""
    heads = [_head(number).subquery() for number in range(lanes)]
    found = union_all(*(select(head.c.lane, head.c.rank) for head in heads)).subquery()
    return select(found.c.lane, found.c.rank).order_by(found.c.rank)


@lru_cache(1)
def lock_head() -> Select[Any]:
    """Return the query for the first job of one lane that nobody else is just taking; nobody else takes it then."""
    return _head(0).with_for_update(skip_locked=True)


@lru_cache(1)
def take_locked() -> Update:
    """Return the statement that takes one job, ``found_id``."""
    return _take(jobs.c.id == bindparam("found_id", type_=Text))


def _head(number: int) -> Select[Any]:
    """Return the query for the first job of lane ``number`` that the holder may have."""
    query = select(_WAITING.c.id, _WAITING.c.lane, _WAITING.c.rank)
    query = query.where(_WAITS, _WAITING.c.lane == bindparam(f"lane_{number}", type_=Text))
    came_at_ms = _WAITING.c.rank + _WAITING.c.priority * literal_column(str(AGING_MS))
    query = query.where(came_at_ms < bindparam(f"came_before_{number}", type_=BigInteger))
    query = query.where(_failures_lately() < bindparam("tries", type_=BigInteger))
    return query.order_by(_WAITING.c.rank, _WAITING.c.id).limit(_ONE)


def _failures_lately() -> ScalarSelect[int]:
    """Return how often a worker, or any dispatch, failed a job lately; it is looked up for one job after the other.

    A job has three attempts, a holder thousands. So this is no EXISTS, which PostgreSQL would rather join with all of
    them; and the holder is compared as an expression, for which SQLite cannot use the index that it has of holders.
    """
    since = bindparam("failed_since", type_=BigInteger)
    of_job = job_attempts.c.job_id == _WAITING.c.id, job_attempts.c.ended_at > since
    of_holder = job_attempts.c.holder.concat(literal_column("''")).like(bindparam("failed_by", type_=Text))
    return (
        select(func.count()).select_from(job_attempts).where(*of_job, of_holder).correlate(_WAITING).scalar_subquery()
    )


def _take(*which: ColumnElement[bool]) -> Update:
    at = bindparam("taken_at", type_=BigInteger)
    values = {
        "status": JobStatus.RUNNING,
        "attempt": jobs.c.attempt + literal_column("1"),
        "worker_id": bindparam("taken_by", type_=Text),
        "node": None,
        "request": None,
        "lease_expires_at": bindparam("taken_until", type_=BigInteger),
        "started_at": func.coalesce(jobs.c.started_at, at),
    }
    return update(jobs).where(*which, _QUEUED).values(**values).returning(jobs)

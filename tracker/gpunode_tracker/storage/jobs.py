"""The queue in the database. Every change is one conditional UPDATE, so that a late or double caller changes nothing.

On PostgreSQL several trackers take jobs at once (``FOR UPDATE SKIP LOCKED``); on SQLite writers take turns anyway.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from gpunode_protocol.jobs_api import MAX_ATTEMPTS
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.jobs.job import JobStatus, Lease, Outcome, StoredJob
from gpunode_tracker.storage.claim_statements import (
    ANY_AGE,
    SHUN_S,
    OlderOnly,
    claim_values,
    heads_of,
    lane_values,
    lock_head,
    lock_worker,
    room,
    take_first,
    take_locked,
)
from gpunode_tracker.storage.locks import is_postgresql
from gpunode_tracker.storage.queue_heads import queued_lanes
from gpunode_tracker.storage.tables import job_attempts, jobs

_RECENT_JOBS: Final = 500
_SHAPES: Final = 64
"""Statements that are remembered, one for each number of lanes."""

# written out, not bound: only so do the partial indices of the queue and of the leases serve
_QUEUED: Final[ColumnElement[bool]] = jobs.c.status == literal_column("'queued'")
_RUNNING: Final[ColumnElement[bool]] = jobs.c.status == literal_column("'running'")
_ADD_JOB: Final = insert(jobs)
_ADD_ATTEMPT: Final = insert(job_attempts)

_LARGE: Final = ("params", "result", "request")
_WITHOUT_LARGE: Final = tuple(column for column in jobs.c if column.name not in _LARGE)


async def add_job(connection: AsyncConnection, job: StoredJob) -> None:
    """Keep a new job."""
    await connection.execute(_ADD_JOB, vars(job))


async def find_job(connection: AsyncConnection, job_id: str, *, account_id: str | None = None) -> StoredJob | None:
    """Return a job; None if there is none, or if it is not ``account_id``'s."""
    return await _find(connection, select(jobs), job_id, account_id)


async def find_job_without_params(
    connection: AsyncConnection, job_id: str, *, account_id: str | None = None
) -> StoredJob | None:
    """Return a job likewise, with empty ``params``, which may have megabytes that nobody needs to read."""
    return await _find(connection, select(*_WITHOUT_LARGE, jobs.c.result, jobs.c.request), job_id, account_id)


async def find_job_state(
    connection: AsyncConnection, job_id: str, *, account_id: str | None = None
) -> StoredJob | None:
    """Return a job likewise, with neither ``params`` nor ``result`` nor ``request``."""
    return await _find(connection, select(*_WITHOUT_LARGE), job_id, account_id)


async def _find(
    connection: AsyncConnection, columns: Select[Any], job_id: str, account_id: str | None
) -> StoredJob | None:
    query = columns.where(jobs.c.id == job_id)
    if account_id is not None:
        query = query.where(jobs.c.account_id == account_id)
    row = (await connection.execute(query)).first()
    return _job(row) if row else None


async def jobs_of_account(
    connection: AsyncConnection,
    account_id: str,
    *,
    status: str | None = None,
    task: str | None = None,
    before_id: str | None = None,
    limit: int,
) -> list[StoredJob]:
    """Return an account's jobs, newest first (their ids are in order of time), older than ``before_id`` if given.

    Without their params, results and requests.
    """
    query = select(*_WITHOUT_LARGE).where(jobs.c.account_id == account_id)
    if status is not None:
        query = query.where(jobs.c.status == status)
    if task is not None:
        query = query.where(jobs.c.type == task)
    if before_id is not None:
        query = query.where(jobs.c.id < before_id)
    return [_job(row) for row in await connection.execute(query.order_by(jobs.c.id.desc()).limit(limit))]


async def claim_job(  # noqa: PLR0913 -- all are conditions of one statement
    connection: AsyncConnection,
    holder: str,
    lanes: Sequence[str],
    *,
    now: int,
    lease_s: int,
    most: int | None = None,
    shun_s: int = SHUN_S,
    tries: int = 1,
    older_only: OlderOnly = ANY_AGE,
) -> StoredJob | None:
    """Give the first job of some lanes (≥ 1) to a holder, running under a new attempt; None if there is none for it.

    Args:
        holder: a worker, or a replica's dispatch, which stands for all mesh nodes, as those of other replicas do.
        most: jobs that the holder, a worker, may hold with this one; one that left or is in maintenance gets none.
            None: whoever takes it counts itself.
        shun_s, tries: it is not given what it failed in the last seconds so often, ≥ 1.
        older_only: lanes whose young jobs are passed over.
    """
    values = claim_values(holder, lanes, now=now, lease_s=lease_s, shun_s=shun_s, tries=tries, older_only=older_only)
    if most is not None:
        values["most"] = most
    if is_postgresql(connection):
        if most is not None and not await _has_room(connection, values):
            return None
        row = await _take_unlocked(connection, values, lanes, older_only)
    else:
        take = take_first(len(lanes), limited=most is not None)
        row = (await connection.execute(take, values)).first()
    if row is None:
        return None
    job = _job(row)
    attempt = {"job_id": job.id, "attempt": job.attempt, "holder": holder, "started_at": now}
    await connection.execute(_ADD_ATTEMPT, attempt)
    return job


async def _has_room(connection: AsyncConnection, values: dict[str, Any]) -> bool:
    """Return whether a worker may hold one more; polls at two replicas do not exceed together what it may."""
    await connection.execute(lock_worker(), values)
    # a statement of its own: it sees what whoever had the lock has written
    return (await connection.execute(room(), values)).scalar_one_or_none() is not None


async def _take_unlocked(
    connection: AsyncConnection, values: dict[str, Any], lanes: Sequence[str], older_only: OlderOnly
) -> Row[Any] | None:
    """Take the first job that no other tracker is just taking."""
    ordered = list(lanes)
    if len(lanes) > 1:
        ordered = [head.lane for head in await connection.execute(heads_of(len(lanes)), values)]
    for lane in ordered:
        locked = (await connection.execute(lock_head(), values | lane_values(0, lane, older_only))).first()
        if locked is not None:
            return (await connection.execute(take_locked(), values | {"found_id": locked.id})).first()
    return None


async def keep_request(connection: AsyncConnection, lease: Lease, request: bytes) -> bool:
    """Note the sealed signed request that the holder has to answer; return whether the lease is in force."""
    changed = update(jobs).where(*_held(lease)).values(request=request)
    return (await connection.execute(changed)).rowcount > 0


async def note_node(connection: AsyncConnection, lease: Lease, node: str) -> None:
    """Note which mesh node does a job for its holder; node: peer id."""
    await connection.execute(update(jobs).where(*_held(lease)).values(node=node))


async def renew_lease(connection: AsyncConnection, lease: Lease, *, now: int, lease_s: int) -> bool:
    """Let a holder have the job for longer; return whether it holds it."""
    changed = update(jobs).where(*_held(lease)).values(lease_expires_at=now + lease_s)
    return (await connection.execute(changed)).rowcount > 0


async def renew_all_leases(connection: AsyncConnection, *, now: int, lease_s: int) -> int:
    """Let every holder have its job for longer; return how many there are."""
    return (await connection.execute(update(jobs).where(_RUNNING).values(lease_expires_at=now + lease_s))).rowcount


async def complete_job(connection: AsyncConnection, lease: Lease, outcome: Outcome, *, now: int) -> StoredJob | None:
    """End a job with its result; None, and nothing is changed, if the holder does not hold it (any more)."""
    values = {"status": JobStatus.COMPLETED, "completed_at": now, "lease_expires_at": None, "error": None}
    values |= {name: value for name, value in vars(outcome).items() if value is not None}
    changed = update(jobs).where(*_held(lease)).values(**values).returning(*_WITHOUT_LARGE)
    row = (await connection.execute(changed)).first()
    if row is None:
        return None
    await _end_attempt(connection, lease, None, now=now)
    return _job(row)


async def fail_attempt(
    connection: AsyncConnection, lease: Lease, reason: str, *, now: int, retryable: bool = True
) -> StoredJob | None:
    """End an attempt: the job is queued again in its old place, or has failed after the last one.

    Args:
        reason: kept, and shown to the job's owner.
        retryable: False = no other worker could do it either (bad parameters).

    Returns:
        The job as it is now; None, and nothing is changed, if the holder does not hold it (any more).
    """
    is_last = not retryable or lease.attempt >= MAX_ATTEMPTS
    values: dict[str, Any] = {"lease_expires_at": None}
    if is_last:
        values |= {"status": JobStatus.FAILED, "error": reason, "completed_at": now}
    else:
        values |= {"status": JobStatus.QUEUED, "worker_id": None, "node": None, "request": None}
    changed = update(jobs).where(*_held(lease)).values(**values).returning(*_WITHOUT_LARGE)
    row = (await connection.execute(changed)).first()
    if row is None:
        return None
    await _end_attempt(connection, lease, reason, now=now)
    return _job(row)


async def undo_lease(connection: AsyncConnection, lease: Lease) -> StoredJob | None:
    """Queue a job again in its old place as if it had not been taken: nobody failed, so no attempt is counted.

    The attempt's number is given anew. So the holder must have ended whatever it did for it: nothing fences that out
    when the same holder takes the job once more.

    Returns:
        The job as it is now; None, and nothing is changed, if the holder does not hold it (any more).
    """
    values = {
        "status": JobStatus.QUEUED,
        "attempt": jobs.c.attempt - 1,
        "worker_id": None,
        "node": None,
        "request": None,
        "lease_expires_at": None,
        "started_at": jobs.c.started_at if lease.attempt > 1 else None,
    }
    changed = update(jobs).where(*_held(lease)).values(**values).returning(*_WITHOUT_LARGE)
    row = (await connection.execute(changed)).first()
    if row is None:
        return None
    undone = job_attempts.c.job_id == lease.job_id, job_attempts.c.attempt == lease.attempt
    await connection.execute(job_attempts.delete().where(*undone))
    return _job(row)


async def cancel_job(connection: AsyncConnection, job_id: str, *, now: int) -> StoredJob | None:
    """End a job that has not ended; whoever holds it learns that at its next word. None if it had ended already."""
    values = {"status": JobStatus.CANCELLED, "completed_at": now, "lease_expires_at": None}
    is_open = jobs.c.status.in_([JobStatus.QUEUED, JobStatus.RUNNING])
    changed = update(jobs).where(jobs.c.id == job_id, is_open).values(**values).returning(*_WITHOUT_LARGE)
    row = (await connection.execute(changed)).first()
    if row is None:
        return None
    job = _job(row)
    # one that failed before stays as it ended: a job that waits again still has its number
    open_one = job_attempts.c.job_id == job_id, job_attempts.c.attempt == job.attempt, job_attempts.c.ended_at.is_(None)
    await connection.execute(update(job_attempts).where(*open_one).values(ended_at=now, failure="cancelled"))
    return job


async def fail_queued(connection: AsyncConnection, job_id: str, reason: str, *, now: int) -> StoredJob | None:
    """Let a job fail that still waits; None, and nothing is changed, if it does not."""
    values = {"status": JobStatus.FAILED, "error": reason, "completed_at": now}
    changed = update(jobs).where(jobs.c.id == job_id, _QUEUED).values(**values).returning(*_WITHOUT_LARGE)
    row = (await connection.execute(changed)).first()
    return _job(row) if row else None


async def stale_jobs(connection: AsyncConnection, *, created_before: int, limit: int) -> list[str]:
    """Return ids of jobs that wait since before an instant."""
    return list((await connection.execute(stale_jobs_query(created_before=created_before, limit=limit))).scalars())


def stale_jobs_query(*, created_before: int, limit: int) -> Select[Any]:
    """Return the query for them, which looks at the front of each lane: a rank is at most the age in milliseconds."""
    lanes = queued_lanes()
    old = _QUEUED, jobs.c.rank < 1000 * created_before, jobs.c.created_at < created_before
    return select(jobs.c.id).join_from(lanes, jobs, jobs.c.lane == lanes.c.lane).where(*old).limit(limit)


async def expired_leases(connection: AsyncConnection, *, now: int, limit: int) -> list[Lease]:
    """Return leases whose holders were not heard in time; end each with ``fail_attempt``."""
    query = (
        select(jobs.c.id, job_attempts.c.holder, jobs.c.attempt)
        .join(job_attempts, (job_attempts.c.job_id == jobs.c.id) & (job_attempts.c.attempt == jobs.c.attempt))
        .where(_RUNNING, jobs.c.lease_expires_at <= now)
        .order_by(jobs.c.lease_expires_at)
        .limit(limit)
    )
    return [Lease(job_id=row.id, holder=row.holder, attempt=row.attempt) for row in await connection.execute(query)]


async def lease_of(connection: AsyncConnection, job_id: str) -> Lease | None:
    """Return who holds a job now."""
    query = (
        select(job_attempts.c.holder, jobs.c.attempt)
        .join(job_attempts, (job_attempts.c.job_id == jobs.c.id) & (job_attempts.c.attempt == jobs.c.attempt))
        .where(jobs.c.id == job_id, _RUNNING)
    )
    row = (await connection.execute(query)).first()
    return Lease(job_id=job_id, holder=row.holder, attempt=row.attempt) if row else None


async def jobs_ahead(connection: AsyncConnection, job: StoredJob, lanes: Sequence[str], *, limit: int) -> int:
    """Return how many queued jobs of some lanes go before a job; counts ``limit`` of a lane at most."""
    values = {f"lane_{number}": lane for number, lane in enumerate(lanes)}
    place = {"place_rank": job.rank, "place_id": job.id, "most": limit}
    return sum((await connection.execute(_ahead_query(len(lanes)), values | place)).one())


@lru_cache(_SHAPES)
def _ahead_query(lanes: int) -> Select[Any]:
    """Return the query for the number of jobs before a place, of each lane; made once for a number of lanes."""
    place = tuple_(bindparam("place_rank", type_=jobs.c.rank.type), bindparam("place_id", type_=jobs.c.id.type))
    earlier = tuple_(jobs.c.rank, jobs.c.id) < place
    # in the order of the index: else PostgreSQL may rather read the table until it has found as many
    ordered = [
        select(jobs.c.id)
        .where(_QUEUED, jobs.c.lane == bindparam(f"lane_{number}", type_=jobs.c.lane.type), earlier)
        .order_by(jobs.c.rank, jobs.c.id)
        .limit(bindparam("most", type_=Integer))
        .subquery()
        for number in range(lanes)
    ]
    return select(*(select(func.count()).select_from(before).scalar_subquery() for before in ordered))


async def recent_processing_ms(connection: AsyncConnection) -> dict[str, float]:
    """Return how long jobs of each type took on average, of the last few hundred that ended."""
    recent = (
        select(jobs.c.type, jobs.c.processing_ms)
        .where(jobs.c.completed_at.is_not(None))
        .order_by(jobs.c.completed_at.desc())
        .limit(_RECENT_JOBS)
        .subquery()
    )
    query = select(recent.c.type, func.avg(recent.c.processing_ms)).where(recent.c.processing_ms.is_not(None))
    return {task: float(mean) for task, mean in await connection.execute(query.group_by(recent.c.type))}


async def queued_by_lane(connection: AsyncConnection) -> dict[str, int]:
    """Return how many jobs wait in each lane; walks over the queue's whole index, so not for every request."""
    query = select(jobs.c.lane, func.count()).where(_QUEUED).group_by(jobs.c.lane)
    return {lane: int(count) for lane, count in await connection.execute(query)}


async def jobs_to_delete(connection: AsyncConnection, *, completed_before: int, limit: int) -> list[str]:
    """Return ids of jobs that ended before an instant."""
    query = select(jobs.c.id).where(jobs.c.completed_at < completed_before).order_by(jobs.c.completed_at).limit(limit)
    return list((await connection.execute(query)).scalars())


async def delete_jobs(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Forget jobs with their attempts, webhooks and idempotency keys. The ledger keeps what was paid."""
    await connection.execute(jobs.delete().where(jobs.c.id.in_(ids)))


async def _end_attempt(connection: AsyncConnection, lease: Lease, failure: str | None, *, now: int) -> None:
    ended = job_attempts.c.job_id == lease.job_id, job_attempts.c.attempt == lease.attempt
    await connection.execute(update(job_attempts).where(*ended).values(ended_at=now, failure=failure))


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which a lease is in force."""
    holds = exists().where(
        job_attempts.c.job_id == jobs.c.id,
        job_attempts.c.attempt == lease.attempt,
        job_attempts.c.holder == lease.holder,
    )
    return jobs.c.id == lease.job_id, _RUNNING, jobs.c.attempt == lease.attempt, holds


def _job(row: Row[Any]) -> StoredJob:
    columns = dict(row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for a row as a mapping
    return StoredJob(**{"params": b""} | columns | {"status": JobStatus(columns["status"])})

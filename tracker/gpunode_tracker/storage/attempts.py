"""Attempts at jobs, seen from those who made them. ``storage.jobs`` begins and ends them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.jobs.job import Lease
from gpunode_tracker.storage.tables import job_attempts, jobs

LONGEST_RUN_S: Final = 24 * 3600
"""What is reserved for a job is for so long of waiting and running together."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt. ended_at: None while it runs. failure: None after a success too.

    nodes: peer ids of the mesh nodes that were asked in it, with spaces between; None: none was.
    """

    job_id: str
    attempt: int
    holder: str
    started_at: int
    ended_at: int | None
    failure: str | None
    nodes: str | None = None


async def attempt_of(
    connection: AsyncConnection, job_id: str, holder: str, attempt: int | None = None
) -> Attempt | None:
    """Return a holder's attempt at a job, its newest if no number is given; None: it never had the job so."""
    query = select(job_attempts).where(job_attempts.c.job_id == job_id, job_attempts.c.holder == holder)
    if attempt is not None:
        query = query.where(job_attempts.c.attempt == attempt)
    row = (await connection.execute(query.order_by(job_attempts.c.attempt.desc()).limit(1))).first()
    return Attempt(**row._mapping) if row else None  # noqa: SLF001 -- SQLAlchemy's public name for a row as a mapping


async def held_by(connection: AsyncConnection, holder: str) -> dict[str, int]:
    """Return the jobs that somebody holds now, each with the number of the attempt."""
    query = select(job_attempts.c.job_id, job_attempts.c.attempt).where(
        job_attempts.c.holder == holder, job_attempts.c.ended_at.is_(None)
    )
    return {row.job_id: row.attempt for row in await connection.execute(query)}


async def held_by_all(connection: AsyncConnection, prefix: str) -> dict[str, dict[str, int]]:
    """Return the same of all holders whose names begin like that, by holder."""
    columns = job_attempts.c.holder, job_attempts.c.job_id, job_attempts.c.attempt
    is_open = job_attempts.c.ended_at.is_(None), job_attempts.c.holder.startswith(prefix, autoescape=True)
    found: dict[str, dict[str, int]] = {}
    for holder, job_id, attempt in await connection.execute(select(*columns).where(*is_open)):
        found.setdefault(holder, {})[job_id] = attempt
    return found


async def failures_since(connection: AsyncConnection, job_id: str, *, since: int) -> list[tuple[str, int]]:
    """Return who failed a job after an instant, and when, the oldest first."""
    lately = job_attempts.c.job_id == job_id, job_attempts.c.ended_at > since
    query = select(job_attempts.c.holder, job_attempts.c.ended_at).where(*lately).order_by(job_attempts.c.attempt)
    return [(holder, int(at)) for holder, at in await connection.execute(query)]


async def queued_again_after(connection: AsyncConnection, holder: str, *, since: int) -> int:
    """Return how many jobs wait that somebody failed since an instant, and that are not given to it again so soon."""
    lately = (
        job_attempts.c.holder == holder,
        job_attempts.c.started_at > since - LONGEST_RUN_S,  # so that the index serves
        job_attempts.c.ended_at > since,
    )
    query = (
        select(func.count(jobs.c.id.distinct()))
        .select_from(job_attempts)
        .join(jobs, and_(jobs.c.id == job_attempts.c.job_id, jobs.c.status == "queued"))
        .where(*lately)
    )
    return int((await connection.execute(query)).scalar_one())


async def note_asked(connection: AsyncConnection, lease: Lease, node: str) -> None:
    """Note that a mesh node was asked in an attempt; node: peer id."""
    of_lease = job_attempts.c.job_id == lease.job_id, job_attempts.c.attempt == lease.attempt
    asked = func.coalesce(job_attempts.c.nodes.concat(" "), "").concat(node)
    await connection.execute(
        update(job_attempts).where(*of_lease, job_attempts.c.holder == lease.holder).values(nodes=asked)
    )


async def nodes_asked(connection: AsyncConnection, job_id: str, *, before: int) -> frozenset[str]:
    """Return the peer ids of the mesh nodes that were asked in the attempts before that number."""
    earlier = job_attempts.c.job_id == job_id, job_attempts.c.attempt < before, job_attempts.c.nodes.is_not(None)
    query = select(job_attempts.c.nodes).where(*earlier)
    return frozenset(node for (nodes,) in await connection.execute(query) for node in nodes.split())


async def failures_of(connection: AsyncConnection, job_id: str) -> list[str]:
    """Return why each failed attempt failed, in order."""
    return (await failures_of_all(connection, [job_id])).get(job_id, [])


async def failures_of_all(connection: AsyncConnection, job_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the same of some jobs, those left out that had no failure."""
    if not job_ids:
        return {}
    failed = job_attempts.c.job_id.in_(job_ids), job_attempts.c.failure.is_not(None)
    query = select(job_attempts.c.job_id, job_attempts.c.failure).where(*failed)
    found: dict[str, list[str]] = {}
    for job_id, failure in await connection.execute(query.order_by(job_attempts.c.job_id, job_attempts.c.attempt)):
        found.setdefault(job_id, []).append(failure)
    return found

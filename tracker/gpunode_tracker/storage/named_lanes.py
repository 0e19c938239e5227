"""In how many lanes an account's jobs wait that name a model: one step into an index for each, however many jobs."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Select, func, literal, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import jobs

# written out, not bound: only so does the partial index serve
_WAITS: Final[tuple[ColumnElement[bool], ...]] = jobs.c.status == literal_column("'queued'"), jobs.c.model.is_not(None)


async def named_lanes(connection: AsyncConnection, account_id: str, *, limit: int) -> set[str]:
    """Return such lanes, at most ``limit``, ≥ 1."""
    return set((await connection.execute(named_lanes_query(account_id, limit=limit))).scalars())


async def waits_in(connection: AsyncConnection, account_id: str, lane: str) -> bool:
    """Return whether a job of an account waits in a lane of a named model."""
    found = select(jobs.c.id).where(*_WAITS, jobs.c.account_id == account_id, jobs.c.lane == lane).limit(1)
    return (await connection.execute(found)).first() is not None


def named_lanes_query(account_id: str, *, limit: int) -> Select[Any]:
    """Return the query for them: a loose scan, see ``queue_heads``."""
    first = select(_next_lane(account_id, None).label("lane"), literal(1, Integer).label("number"))
    lanes = first.cte("lanes", recursive=True)
    before = lanes.alias("before")
    further = select(_next_lane(account_id, before.c.lane), before.c.number + 1)
    lanes = lanes.union_all(further.where(before.c.lane.is_not(None), before.c.number < limit))
    return select(lanes.c.lane).where(lanes.c.lane.is_not(None))


def _next_lane(account_id: str, lane: ColumnElement[str] | None) -> Any:
    query = select(func.min(jobs.c.lane)).where(*_WAITS, jobs.c.account_id == account_id)
    return (query if lane is None else query.where(jobs.c.lane > lane)).scalar_subquery()

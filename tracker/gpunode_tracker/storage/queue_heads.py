"""The heads of the queue's lanes: one step into the index for each lane that has jobs, however long the queue is."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import CTE, ColumnElement, Select, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.jobs.queue_order import created_at_ms_of
from gpunode_tracker.storage.tables import jobs

# written out, not bound: only so does the partial index of the queue serve
_QUEUED: Final[ColumnElement[bool]] = jobs.c.status == literal_column("'queued'")


@dataclass(frozen=True)
class Head:
    """The first job of a lane. client_region: of whoever sent it, None = not known."""

    lane: str
    rank: int
    client_region: str | None
    priority: int = 0

    @property
    def created_at_ms(self) -> int:
        """When the job was submitted, Unix milliseconds."""
        return created_at_ms_of(self.rank, self.priority)

    @property
    def may_be_before_older(self) -> bool:
        """Whether jobs that are older may stand behind it; of the lowest priority, the first is the oldest."""
        return self.priority > 0


async def queue_heads(connection: AsyncConnection) -> list[Head]:
    """Return the first job of each lane that has any, the one that goes first at the front."""
    return [Head(*row) for row in await connection.execute(queue_heads_query())]


@cache
def queue_heads_query() -> Select[Any]:
    """Return the query for them: a loose scan of the index (https://wiki.postgresql.org/wiki/Loose_indexscan)."""
    lanes = queued_lanes()
    head_id = (
        select(jobs.c.id)
        .where(_QUEUED, jobs.c.lane == lanes.c.lane)
        .order_by(jobs.c.rank, jobs.c.id)
        .limit(1)
        .correlate(lanes)
        .scalar_subquery()
    )
    query = select(jobs.c.lane, jobs.c.rank, jobs.c.client_region, jobs.c.priority)
    query = query.join_from(lanes, jobs, jobs.c.id == head_id)
    return query.where(lanes.c.lane.is_not(None)).order_by(jobs.c.rank, jobs.c.id)


def queued_lanes() -> CTE:
    """Return all lanes that have queued jobs, in the column ``lane``, and one row that is NULL."""
    lanes = select(_first_lane_after(None).label("lane")).cte("lanes", recursive=True)
    before = lanes.alias("before")
    return lanes.union_all(select(_first_lane_after(before.c.lane)).where(before.c.lane.is_not(None)))


def _first_lane_after(lane: ColumnElement[str] | None) -> Any:
    query = select(func.min(jobs.c.lane)).where(_QUEUED)
    return (query if lane is None else query.where(jobs.c.lane > lane)).scalar_subquery()

"""The heads of the queue's lanes: one step into the index for each lane that has jobs, however long the queue is."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

# A loose scan of the index, https://wiki.postgresql.org/wiki/Loose_indexscan
_QUERY: Final = """
    WITH RECURSIVE lanes (lane) AS (
        SELECT first.lane
        FROM (
            SELECT lane FROM jobs /* by the queue's index */
            WHERE status = 'queued' ORDER BY lane, rank LIMIT 1
        ) AS first
        UNION ALL
        SELECT (
            SELECT jobs.lane FROM jobs /* by the queue's index */
            WHERE jobs.status = 'queued' AND jobs.lane > lanes.lane ORDER BY jobs.lane, jobs.rank LIMIT 1
        )
        FROM lanes WHERE lanes.lane IS NOT NULL
    )
    SELECT jobs.lane, jobs.rank, jobs.client_region
    FROM lanes
    JOIN jobs ON jobs.id = (
        SELECT head.id FROM jobs AS head
        WHERE head.status = 'queued' AND head.lane = lanes.lane ORDER BY head.rank, head.id LIMIT 1
    )
    ORDER BY jobs.rank, jobs.id
"""
_QUERIES: Final = {
    "postgresql": text(_QUERY),
    # left alone, SQLite takes the index of the status and sorts all that is queued
    "sqlite": text(_QUERY.replace("/* by the queue's index */", "INDEXED BY ix_jobs_lane_rank")),
}


@dataclass(frozen=True)
class Head:
    """The first job of a lane. client_region: of whoever sent it, None = not known."""

    lane: str
    rank: int
    client_region: str | None


async def queue_heads(connection: AsyncConnection) -> list[Head]:
    """Return the first job of each lane that has any, the one that goes first at the front."""
    return [Head(*row) for row in await connection.execute(queue_heads_query(connection.dialect.name))]


def queue_heads_query(dialect: str) -> TextClause:
    """Return the query for them in the words of a database."""
    return _QUERIES[dialect]

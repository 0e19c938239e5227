"""The first jobs of the lanes, on both databases."""

from gpunode_tracker.storage.queue_heads import Head, queue_heads, queue_heads_query
from gpunode_tracker.storage.workers import add_worker
from gpunode_tracker.tracker import Tracker
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from tests.tracker.databases import ON_BOTH, ON_SQLITE
from tests.tracker.workers.examples import stored_worker, worker_id
from tests.tracker.workers.queued import add_jobs, claim, queued_job


async def _heads(tracker: Tracker) -> list[Head]:
    async with tracker.database.read() as connection:
        return await queue_heads(connection)


@ON_BOTH
async def test_an_empty_queue(tracker: Tracker) -> None:
    """It has no lanes."""
    assert await _heads(tracker) == []


@ON_BOTH
async def test_one_head_for_each_lane(tracker: Tracker) -> None:
    """In the order in which the jobs go; jobs that run are no heads."""
    async with tracker.database.write() as connection:
        await add_worker(connection, stored_worker(), b"t")
    await add_jobs(
        tracker,
        queued_job(1),
        queued_job(2, rank=0),
        queued_job(3, type="whisper", rank=-5, client_region="asia"),
        queued_job(4, region="asia", model="m", rank=7),
        queued_job(5, region="asia", model="m", rank=8),
    )
    assert await _heads(tracker) == [
        Head("whisper/*/*", -5, "asia"),
        Head("llm/*/*", 0, None),
        Head("llm/asia/m", 7, None),
    ]
    for _ in range(2):
        await claim(tracker, worker_id(1))
    assert await _heads(tracker) == [Head("whisper/*/*", -5, "asia"), Head("llm/asia/m", 7, None)]


@ON_SQLITE
async def test_only_steps_into_the_index(tracker: Tracker) -> None:
    """The query's plan scans no table, and sorts nothing but the heads: one row for each lane, the last step of all."""
    await add_jobs(tracker, *(queued_job(number) for number in range(1, 50)))
    query = queue_heads_query().compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    async with tracker.database.read() as connection:
        plan = [(row.parent, row.detail) for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
    steps = [step for _, step in plan]
    assert [step for step in steps if "SCAN jobs" in step] == []
    assert any("ix_jobs_lane_rank" in step for step in steps)
    assert [(parent, step) for parent, step in plan if "TEMP B-TREE" in step] == [(0, "USE TEMP B-TREE FOR ORDER BY")]
    read = [step for parent, step in plan if parent == 0 and step.startswith(("SCAN", "SEARCH"))]
    assert [step.split()[:2] for step in read] == [["SCAN", "lanes"], ["SEARCH", "jobs"]]

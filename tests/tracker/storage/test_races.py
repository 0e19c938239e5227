"""Several trackers on one database race for the jobs of one queue: none runs twice, and none is lost."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.jobs.job import JobStatus, worker_holder
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.jobs import claim_job
from gpunode_tracker.storage.tables import job_attempts, jobs
from sqlalchemy import insert, select

from tests.tracker.databases import ON_BOTH, ON_POSTGRESQL, SQLITE
from tests.tracker.parties import START_AT, job_id
from tests.tracker.storage.queued_jobs import LANE, LEASE_S, Queue, queued_job
from tests.tracker.storage.racer import Stumbled, race

ROOT = Path(__file__).parents[3]
REPLICAS = ("w1", "w2", "w3", "w4")


async def _queue_up(database: Database, count: int) -> None:
    async with database.write() as connection:
        await connection.execute(insert(jobs), [vars(queued_job(number)) for number in range(count)])


async def _check(database: Database, count: int, done: dict[str, list[str]]) -> None:
    """Every job was completed once, by the one that says so, in its first attempt."""
    assert Counter(job for ids in done.values() for job in ids) == Counter(job_id(number) for number in range(count))
    async with database.read() as connection:
        rows = (await connection.execute(select(jobs.c.id, jobs.c.status, jobs.c.attempt, jobs.c.result))).all()
        attempts = (await connection.execute(select(job_attempts.c.job_id))).scalars().all()
    assert {(row.status, row.attempt) for row in rows} == {(JobStatus.COMPLETED, 1)}
    assert {row.id: row.result.decode() for row in rows} == {job: name for name, ids in done.items() for job in ids}
    assert len(attempts) == count


@ON_BOTH
@pytest.mark.parametrize("count", [100, pytest.param(1_000, marks=pytest.mark.full)])
async def test_engines_race(queue: Queue, settings: TrackerSettings, database_kind: str, count: int) -> None:
    """With connections of their own, several jobs at once, and transactions that are given up in between."""
    names = REPLICAS[:2] if database_kind == SQLITE else REPLICAS
    await _queue_up(queue.database, count)
    replicas = {name: Database(settings.sqlalchemy_url) for name in names}
    found = await asyncio.gather(*(race(database, name) for name, database in replicas.items()))
    for database in replicas.values():
        await database.close()
    await _check(queue.database, count, dict(zip(replicas, found, strict=True)))


@pytest.mark.full
@ON_BOTH
async def test_processes_race(queue: Queue, settings: TrackerSettings, database_kind: str) -> None:
    """Really at the same time."""
    count = 200 if database_kind == SQLITE else 1_000
    await _queue_up(queue.database, count)
    command = [sys.executable, "-m", "tests.tracker.storage.racer", settings.sqlalchemy_url]
    racers = [
        await asyncio.create_subprocess_exec(*command, name, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        for name in REPLICAS
    ]
    printed = [(await racer.communicate())[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * len(racers)
    await _check(
        queue.database, count, {name: out.decode().split() for name, out in zip(REPLICAS, printed, strict=True)}
    )


@ON_POSTGRESQL
async def test_a_job_that_somebody_is_taking_is_passed_by(queue: Queue) -> None:
    """Nobody waits for another's transaction: the next job is given out meanwhile, and the first when that one ends."""
    await queue.add(queued_job(1), queued_job(2))
    with pytest.raises(Stumbled):
        await _take_while_others_do(queue)
    assert (await queue.lease("w2")).job_id == job_id(1)


async def _take_while_others_do(queue: Queue) -> None:
    async with queue.database.write() as connection:
        first = await claim_job(connection, worker_holder("w1"), (LANE,), now=START_AT, lease_s=LEASE_S)
        assert first is not None
        assert first.id == job_id(1)
        assert (await queue.lease("w2")).job_id == job_id(2)
        assert await queue.take("w2") is None
        raise Stumbled

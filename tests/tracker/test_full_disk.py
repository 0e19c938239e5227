"""The tracker's disk is full: callers hear when to come again, nothing is half kept, and all goes on afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gpunode_protocol import jobs_api
from gpunode_protocol import tracker_api as api
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.failures import WHEN_REPAIRED_S
from sqlalchemy import event, text

from tests.tracker.conftest import World
from tests.tracker.databases import ON_SQLITE
from tests.tracker.pull_workers import pull_worker

pytestmark = ON_SQLITE
MANY_CHARS = 200_000
"""More than what is left in the pages that the database has."""


def _chat(content: str) -> dict[str, Any]:
    return {"type": "llm", "params": {"messages": [{"role": "user", "content": content}], "max_tokens": 1}}


@contextmanager
def _full_disk(database: Database, pages: int) -> Iterator[None]:
    """Let SQLite find no room for more pages than there are: it fails as it does when the disk is full."""
    engine = database._engine.sync_engine

    def limit(count: int) -> Any:
        return lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {count}")

    full, free = limit(pages), limit(2**30)
    event.listen(engine, "begin", full)
    try:
        yield
    finally:
        event.remove(engine, "begin", full)
        event.listen(engine, "begin", free)


async def _pages(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(text("PRAGMA page_count"))).scalar_one())


async def test_jobs_over_a_full_disk(world: World) -> None:
    """Submissions and results are refused with 503 and taken later; what is small, or read, goes on."""
    _, key = await world.account()
    headers = {"Authorization": f"Bearer {key}"}
    worker = await pull_worker(world)
    job = (await (await world.http.post(jobs_api.JOBS_PATH, json=_chat("Hi"), headers=headers)).json())["job_id"]
    assert (await worker.next_job()).job_id == job
    before = await world.balance(key=key)
    result = {"success": True, "result": {"response": "x" * MANY_CHARS}, "attempt": 1}
    with _full_disk(world.tracker.database, await _pages(world.tracker.database)):
        refused = [
            await world.http.post(jobs_api.JOBS_PATH, json=_chat("x" * MANY_CHARS), headers=headers),
            await worker.try_to_complete(job, **result),
        ]
        for answer in refused:
            assert (answer.status, answer.headers["Retry-After"]) == (503, str(WHEN_REPAIRED_S))
            assert (await world.problem(answer)).code == "storage_unavailable"
        assert await world.balance(key=key) == before
        listed = await world.read(jobs_api.JobsPage, jobs_api.JOBS_PATH, key=key)
        assert [(each.job_id, each.status) for each in listed.jobs] == [(job, "running")]
        assert (await worker.heartbeat(holding={job: 1})).lost == ()
        assert (await world.get(api.HEALTH_PATH)).status == 200
    assert (await worker.complete(job, **result)).status == "completed"
    assert (await world.http.post(jobs_api.JOBS_PATH, json=_chat("x" * MANY_CHARS), headers=headers)).status == 202

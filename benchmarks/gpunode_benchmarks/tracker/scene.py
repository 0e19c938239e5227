"""A tracker's database with as much in it as a busy network has: nodes, pull workers, and a long queue."""

import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from gpunode_protocol.jobs_api import JobSubmission
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.administration import Administration
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.jobs.desk import Sender
from gpunode_tracker.jobs.lanes import lane_of
from gpunode_tracker.jobs.queue_order import rank_of
from gpunode_tracker.storage.accounts import Account, public_key_id, secret_hash
from gpunode_tracker.storage.tables import jobs, workers
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.tokens import new_token
from sqlalchemy import BigInteger, ColumnElement, LargeBinary, Text, cast, func, insert, literal, select, text

CREDITS: Final = 1_000_000_000
HELLO: Final[dict[str, Any]] = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}
_BATCH_ROWS: Final = 5_000
_SEALED_BYTES: Final = 140
_FIRST_NUMBER: Final = 1_000_000_000_000
"""Of the made-up ids, whose last part has twelve digits."""


@dataclass(frozen=True)
class SceneWorker:
    """A registered pull worker."""

    id: str
    token: str


@dataclass(frozen=True)
class Scene:
    """What was made. key: an API key for everything but administration."""

    network: str
    key: str
    workers: Sequence[SceneWorker]


async def make_scene(settings: TrackerSettings, *, queued: int, paid: int, worker_count: int) -> Scene:
    """Fill the database of a tracker that does not run.

    Args:
        queued: jobs that wait, of which ``paid`` come first and were submitted with all that belongs to it; the rest
            are rows behind them.
        worker_count: pull workers, heard just now.
    """
    tracker = await Tracker.open(settings)
    try:
        admin = Administration(settings, tracker.database, tracker.keys, tracker.clock)
        account = await admin.create_account("benchmark", credits_given=CREDITS)
        key = await admin.create_key(account.id)
        for _ in range(paid):
            await _submit(tracker, account, key)
        await _fill_queue(tracker, account.id, queued - paid)
        made = [SceneWorker(str(uuid.uuid4()), new_token()) for _ in range(worker_count)]
        await _add_rows(tracker, workers, (_worker_row(worker, tracker.now) for worker in made))
        return Scene(tracker.keys.network, key, made)
    finally:
        await tracker.close()


async def _submit(tracker: Tracker, account: Account, key: str) -> None:
    submission = JobSubmission(type=Task.LLM, params=HELLO, priority=9)
    await tracker.desk.file(Sender(account, public_key_id(key), "203.0.113.7", Region.EUROPE), submission)


async def _fill_queue(tracker: Tracker, account_id: str, count: int) -> None:
    """Put rows behind the jobs that are taken, made by the database itself: nobody reads their parameters."""
    numbers = select(literal(1).label("number")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.number + 1).where(numbers.c.number < count))
    name = literal("01900000-0000-7000-8000-") + func.substr(cast(_FIRST_NUMBER + numbers.c.number, Text), 2)
    values: dict[str, Any] = {
        "id": name,
        "type": literal(str(Task.LLM)),
        "status": literal("queued"),
        "priority": literal(0),
        "lane": literal(lane_of(Task.LLM, None, None)),
        "rank": literal(rank_of(0, int(tracker.clock() * 1_000)), BigInteger) + numbers.c.number,
        "params": literal(os.urandom(_SEALED_BYTES), LargeBinary),
        "attempt": literal(0),
        "created_at": literal(tracker.now),
        "account_id": literal(account_id),
        "client_id": literal("benchmark"),
        "client_address": literal("203.0.113.7"),
    }
    columns: list[ColumnElement[Any]] = list(values.values())
    rows = select(*columns).select_from(numbers)
    async with tracker.database.overhaul() as connection:
        await connection.execute(insert(jobs).from_select(list(values), rows))
        if tracker.database.is_shared:
            await connection.execute(text("ANALYZE jobs"))  # as its autovacuum does by itself, some time later


def _worker_row(worker: SceneWorker, now: int) -> dict[str, Any]:
    return {
        "id": worker.id,
        "name": "benchmark",
        "status": "online",
        "region": Region.EUROPE,
        "country": "DE",
        "city": "",
        "gpu_model": "benchmark",
        "gpu_memory_gb": 24.0,
        "memory_used_gb": 1.0,
        "supported_types": [Task.LLM],
        "models": [],
        "success_rate": 1.0,
        "total_jobs": 0,
        "maintenance": False,
        "last_heartbeat": now,
        "registered_at": now,
        "auth_token_hash": secret_hash(worker.token),
    }


async def _add_rows(tracker: Tracker, table: Any, rows: Iterator[dict[str, Any]]) -> None:
    while batch := list(islice(rows, _BATCH_ROWS)):
        async with tracker.database.overhaul() as connection:
            await connection.execute(insert(table), batch)


def scene_settings(folder: Path, database_url: str | None) -> TrackerSettings:
    """Return the settings of the tracker that is measured."""
    return TrackerSettings.load({"data_dir": folder / "t", "mesh": False, "database_url": database_url})

"""A tracker's data folder as it is after months: an account, registered pull workers, a long queue."""

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from gpunode_protocol.identity import Identity
from gpunode_protocol.job_ids import new_job_id
from gpunode_protocol.jobs_api import JobSubmission, WorkerRegistration
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import Registration
from gpunode_tracker.administration import Administration
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.jobs.job import JobStatus, StoredJob
from gpunode_tracker.jobs.lanes import lane_of
from gpunode_tracker.jobs.queue_order import rank_of
from gpunode_tracker.jobs.seals import JobSeals
from gpunode_tracker.storage.accounts import Account, secret_hash
from gpunode_tracker.storage.tables import jobs, workers
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.tokens import new_token
from gpunode_tracker.workers.worker import WorkerStatus
from sqlalchemy import Table, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_benchmarks.tracker.effort import Effort

MODELS: Final = ("smollm2-135m", "llama-3.2-1b", "llama-3.2-3b")
WORKER_MODELS: Final = MODELS[:2]
"""What every worker serves: it looks into the lanes of these, of its region and of anywhere, six in all."""
KEYED_MODEL: Final = "llama-3.1-8b"
"""Only workers with keys serve it: whose jobs have reservations, and go before all others."""
GPU_MEMORY_GB: Final = 24.0
MEMORY_USED_GB: Final = 8.0
CREDITS: Final = 1_000_000
_PRIORITIES: Final = 10
_PACE_S: Final = 0.5
"""Between two jobs of the queue, so that the oldest have waited for half a day."""
_HEAD_START_MS: Final = 30 * 24 * 3_600_000
_CHUNK_ROWS: Final = 2_000

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FilledWorker:
    """A registered pull worker."""

    id: str
    token: str


@dataclass(frozen=True, slots=True)
class Filled:
    """Who may use the tracker.

    Args:
        api_key: of an account with credits.
        workers: without keys.
        keyed: with keys; the last one takes no jobs but those of which the plans are.
    """

    api_key: str
    workers: tuple[FilledWorker, ...]
    keyed: tuple[FilledWorker, ...]


async def fill(settings: TrackerSettings, effort: Effort) -> Filled:
    """Make keys and database, and write all of it in one transaction; the tracker is not running."""
    tracker = await Tracker.open(settings)
    try:
        admin = Administration(settings, tracker.database, tracker.keys, time.time)
        account = await admin.create_account("bench", credits_given=CREDITS)
        api_key = await admin.create_key(account.id)
        made = [FilledWorker(str(uuid.uuid4()), new_token()) for _ in range(effort.workers)]
        async with tracker.database.write() as connection:
            await _insert(connection, workers, _worker_rows(made, effort.heartbeat_interval_s))
            seals = JobSeals(tracker.sealer)
            await _insert(connection, jobs, map(vars, queued_jobs(effort.queued_jobs, account.id, seals)))
        keyed = [await _register_keyed(tracker) for _ in range(effort.keyed_takers + 1)]
        await _submit_for_keyed(tracker, account, len(keyed) * effort.takes)
    finally:
        await tracker.close()
    return Filled(api_key, tuple(made), tuple(keyed))


async def _register_keyed(tracker: Tracker) -> FilledWorker:
    """Register a worker that proves its key, as a node does that pulls its jobs."""
    worker, (challenge, _) = Identity.generate(), tracker.challenges.new()
    proof = Registration(network=tracker.keys.network, peer=worker.peer_id, challenge=challenge, region=Region.EUROPE)
    body = WorkerRegistration(
        region=Region.EUROPE,
        gpu_memory_gb=GPU_MEMORY_GB,
        supported_types=(Task.LLM,),
        models=(*WORKER_MODELS, KEYED_MODEL),
        registration=sign(worker, proof).envelope,
    )
    registered = await tracker.workers.register(body, None)
    return FilledWorker(registered.worker.id, registered.token)


async def _submit_for_keyed(tracker: Tracker, account: Account, count: int) -> None:
    """Submit chats whose cost is reserved, and let them have waited for longest."""
    chat = {"messages": [{"role": "user", "content": "What is 6 times 7?"}], "max_tokens": 16}
    submission = JobSubmission(type=Task.LLM, model=KEYED_MODEL, params=chat)
    for _ in range(count):
        await tracker.desk.submit(account, "bench", submission, address="127.0.0.1", region=None)
    async with tracker.database.write() as connection:
        aged = update(jobs).where(jobs.c.model == KEYED_MODEL).values(rank=jobs.c.rank - _HEAD_START_MS)
        await connection.execute(aged)


def queued_jobs(count: int, account_id: str, seals: JobSeals) -> Iterator[StoredJob]:
    """Yield chats that wait: for anywhere or one of five regions, any or one of three models, of ten priorities."""
    places = (None, *Region)
    models = (None, *MODELS)
    now = time.time()
    for number in range(count):
        created_at = now - _PACE_S * (count - number)
        job_id, region, model = new_job_id(created_at), places[number % len(places)], models[number % len(models)]
        question = {"role": "user", "content": f"What is {number} in words?"}
        params = json.dumps({"messages": [question], "max_tokens": 16}).encode()
        priority = number * 7 % _PRIORITIES
        yield StoredJob(
            id=job_id,
            type=Task.LLM,
            status=JobStatus.QUEUED,
            priority=priority,
            region=region,
            model=model,
            lane=lane_of(Task.LLM, region, model),
            rank=rank_of(priority, int(created_at * 1000)),
            params=seals.seal_params(job_id, params),
            created_at=int(created_at),
            account_id=account_id,
            client_id="bench",
            client_address="127.0.0.1",
        )


def _worker_rows(made: Iterable[FilledWorker], interval_s: float) -> Iterator[Row]:
    """Yield workers of all regions that were heard within the last interval."""
    now, regions = int(time.time()), tuple(Region)
    for number, worker in enumerate(made):
        yield {
            "id": worker.id,
            "name": f"worker {number}",
            "status": WorkerStatus.ONLINE,
            "region": regions[number % len(regions)],
            "country": "",
            "city": "",
            "gpu_model": "",
            "gpu_memory_gb": GPU_MEMORY_GB,
            "memory_used_gb": MEMORY_USED_GB,
            "supported_types": [Task.LLM],
            "models": list(WORKER_MODELS),
            "success_rate": 1.0,
            "total_jobs": 0,
            "maintenance": False,
            "last_heartbeat": now - int(number % interval_s),
            "registered_at": now,
            "auth_token_hash": secret_hash(worker.token),
        }


async def _insert(connection: AsyncConnection, table: Table, rows: Iterable[Row]) -> None:
    rest = iter(rows)
    while chunk := list(islice(rest, _CHUNK_ROWS)):
        await connection.execute(insert(table), chunk)

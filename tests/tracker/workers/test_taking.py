"""Which jobs a worker is given, and why it is given none."""

from typing import Any

import pytest
from gpunode_protocol import jobs_api
from gpunode_protocol.identity import Identity
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import read_body
from gpunode_protocol.tasks import Task
from gpunode_tracker.storage.attempts import failures_of
from gpunode_tracker.storage.claim_statements import ALONE_SHUN_S, SHUN_S
from gpunode_tracker.storage.queue_heads import Head
from gpunode_tracker.workers import taking
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.tracker.conftest import World
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import PullWorker, pull_worker, stored_job, submit


async def _owner(world: World) -> str:
    return (await world.account())[0]


async def _failures(world: World, job: str) -> list[str]:
    async with world.tracker.database.read() as connection:
        return await failures_of(connection, job)


async def test_nothing_to_do(world: World) -> None:
    """Without a reason where nothing waits; else with the counted reasons."""
    owner, worker = await _owner(world), await pull_worker(world, models=["small"])
    assert await worker.next_job() == jobs_api.NextJob()
    world.tracker.workers.taking._counted_at = float("-inf")
    await submit(world, owner, region="asia")
    await submit(world, owner, model="large")
    for _ in range(2):
        await submit(world, owner, type=Task.EMBEDDING, params={"input": "a"})
    assert (await worker.next_job()).reasons == {"other_region": 1, "model_not_served": 1, "type_not_supported": 2}


async def test_the_order_of_jobs(world: World, clock: TestClock) -> None:
    """By priority, then by age, across all that the worker can do."""
    owner, worker = await _owner(world), await pull_worker(world, models=["m"], supported_types=["llm", "embedding"])
    wanted: list[dict[str, Any]] = [
        {},
        {"region": "europe"},
        {"model": "m", "priority": 1},
        {"type": Task.EMBEDDING, "params": {"input": "a"}},
    ]
    jobs = []
    for fields in wanted:
        jobs.append(await submit(world, owner, **fields))
        clock.advance(1)
    assert [(await worker.next_job()).job_id for _ in jobs] == [jobs[2], jobs[0], jobs[1], jobs[3]]


async def test_an_older_job_behind_one_that_is_kept(world: World, clock: TestClock) -> None:
    """A nearer worker asked just now, so the urgent job is kept for it; who asks without waiting has the next one."""
    owner, worker = await _owner(world), await pull_worker(world)
    old = await submit(world, owner, client_region="asia")
    clock.advance(60)
    await submit(world, owner, client_region="asia", priority=9)
    near = await world.tracker.workers.find((await pull_worker(world, region="asia")).token)
    assert near is not None
    world.tracker.workers.nearest.asked_in_vain(near)
    assert (await worker.next_job()).job_id == old
    assert (await worker.next_job()).job_id is None


async def test_a_worker_without_a_list_of_models(world: World) -> None:
    """Gets whatever comes of its types."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner, model="anything-at-all")
    given = await worker.next_job()
    assert (given.job_id, given.model) == (job, "anything-at-all")


async def test_a_job_that_names_a_model_by_an_alias(world: World) -> None:
    """The worker is told the name by which it serves the model, also in the request that is signed for it."""
    owner = await _owner(world)
    worker = await pull_worker(world, identity=Identity.generate(), models=["small", "qwen2.5-7b-instruct"])
    job = await submit(world, owner, model="qwen2.5-7b")
    given = await worker.next_job()
    assert (given.job_id, given.model) == (job, "qwen2.5-7b-instruct")
    assert given.request is not None
    assert read_body(JobRequest, given.request).model == "qwen2.5-7b-instruct"
    assert (await stored_job(world, job)).model == "qwen2.5-7b"


async def test_a_live_job_is_not_given_twice(world: World) -> None:
    """Not to the same worker, nor to another."""
    owner, worker, other = await _owner(world), await pull_worker(world), await pull_worker(world)
    await submit(world, owner)
    assert (await worker.next_job()).job_id is not None
    assert [(await each.next_job()).job_id for each in (worker, other)] == [None, None]


async def _fail_once(worker: PullWorker, job: str) -> None:
    assert (await worker.next_job()).job_id == job
    await worker.complete(job, success=False, error="no")


async def test_a_worker_that_is_alone_gets_a_job_again(world: World, clock: TestClock) -> None:
    """After some seconds, there being nobody else who could do it; so three attempts take no minutes."""
    owner, worker = await _owner(world), await pull_worker(world, models=["m"])
    await (await pull_worker(world, models=["n"])).heartbeat()
    job = await submit(world, owner, model="m")
    await _fail_once(worker, job)
    clock.advance(ALONE_SHUN_S - 1)
    assert (await worker.next_job()).job_id is None
    clock.advance(1)
    assert (await worker.next_job()).job_id == job


async def test_a_worker_that_is_not_alone_leaves_a_job_to_others(world: World, clock: TestClock) -> None:
    """For a minute, in which whoever else could do it may come to ask."""
    owner, worker, other = await _owner(world), await pull_worker(world), await pull_worker(world)
    job = await submit(world, owner)
    await _fail_once(worker, job)
    clock.advance(SHUN_S - 1)
    await other.heartbeat()
    assert (await worker.next_job()).reasons == {"failed_here_before": 1}
    clock.advance(1)
    assert (await worker.next_job()).job_id == job


async def test_a_worker_holds_four_jobs(world: World) -> None:
    """Not more, whatever waits; one more when one is done."""
    owner, worker = await _owner(world), await pull_worker(world)
    jobs = [await submit(world, owner) for _ in range(6)]
    given = [(await worker.next_job()).job_id for _ in range(4)]
    assert set(given) < set(jobs)
    empty = await worker.next_job()
    assert (empty.job_id, empty.reasons) == (None, {"holds_enough_jobs": 2})
    await worker.complete(given[0])
    assert (await worker.next_job()).job_id in set(jobs) - set(given)


async def test_maintenance_gives_no_jobs(world: World) -> None:
    """What the worker holds it may end."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    await submit(world, owner)
    await worker.post(jobs_api.WORKER_MAINTENANCE_PATH, {"enabled": True})
    assert (await worker.next_job()).reasons == {"maintenance": 1}
    await worker.complete(job)
    await worker.post(jobs_api.WORKER_MAINTENANCE_PATH, {"enabled": False})
    assert (await worker.next_job()).job_id is not None


async def test_a_tracker_that_cannot_sign_gives_keyed_workers_nothing(world: World, clock: TestClock) -> None:
    """As where the file of a new signing key was not copied, or the clock was set back: no job is lost to it."""
    keyed, plain = await pull_worker(world, identity=Identity.generate()), await pull_worker(world)
    first = await submit(world, await _owner(world))
    clock.advance(1)
    second = await submit(world, await _owner(world))
    clock.advance(-86_400)
    assert (await keyed.next_job()).reasons == {"tracker_cannot_sign": 2}
    assert (await plain.next_job()).job_id == first
    clock.advance(86_400)
    assert (await keyed.next_job()).job_id == second
    assert await _failures(world, second) == []


async def test_leaving_with_a_job(world: World) -> None:
    """Others get it at once."""
    owner, worker, other = await _owner(world), await pull_worker(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    path = jobs_api.WORKER_PATH.format(worker=worker.id)
    assert (await world.http.delete(path, headers={"X-Worker-Token": worker.token})).status == 204
    assert (await other.next_job()).job_id == job
    assert await _failures(world, job) == ["The worker left."]


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lanes were found, each time that the queue was looked into."""
    found: list[int] = []
    read = taking.queue_heads

    async def counted(connection: AsyncConnection) -> list[Head]:
        heads = await read(connection)
        found.append(len(heads))
        return heads

    monkeypatch.setattr(taking, "queue_heads", counted)
    return found


async def test_lanes_are_remembered(world: World, clock: TestClock, readings: list[int]) -> None:
    """Until the queue grows, or for two seconds."""
    owner, worker = await _owner(world), await pull_worker(world)
    for _ in range(4):
        await submit(world, owner)
    await worker.next_job()
    await worker.next_job()
    assert readings == [1]
    clock.advance(taking.LANES_LAST_S)
    await worker.next_job()
    assert readings == [1, 1]
    await submit(world, owner, region="europe")
    await worker.next_job()
    assert readings == [1, 1, 2]


async def test_a_worker_that_finds_nothing_looks_anew(world: World, readings: list[int]) -> None:
    """A job may have come without a word, and what is known may be taken."""
    owner, worker, other = await _owner(world), await pull_worker(world), await pull_worker(world)
    await submit(world, owner)
    assert (await worker.next_job()).job_id is not None
    news = world.tracker.news
    changes = news.changes
    silent = await submit(world, owner, model="m")
    news._changes = changes  # the word of it was lost
    assert (await other.next_job()).job_id == silent
    assert readings == [1, 1]

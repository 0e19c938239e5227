"""The jobs of pull workers over HTTP: one from its start to its end, long polls, sizes."""

import asyncio
from collections.abc import Callable

import pytest
from gpunode_protocol import jobs_api
from gpunode_protocol.tasks import Task
from gpunode_tracker.bans import Ban, BanKind
from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.limits import Limits
from gpunode_tracker.workers.presence import LiveWorker

from tests.tracker.conftest import World
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import ANSWER, CHAT, pull_worker, stored_job, submit, until_waiting


async def _owner(world: World) -> str:
    return (await world.account())[0]


async def test_a_job(world: World, clock: TestClock) -> None:
    """The plan's three fields, and what the worker needs beside them; the result reaches the database sealed."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    given = await worker.next_job()
    assert (given.job_id, given.type, given.params) == (job, Task.LLM, CHAT)
    assert (given.attempt, given.lease_s, given.request, given.model, given.reasons) == (1, 60, None, None, {})
    clock.advance(2.5)
    reply = await worker.complete(job, success=True, result=ANSWER, processing_time=2.5)
    assert reply == jobs_api.CompletionReply(job_id=job, status="completed", paid_microcredits=0)
    ended = await stored_job(world, job)
    assert (ended.status, ended.worker_id, ended.processing_ms) == (JobStatus.COMPLETED, worker.id, 2_500)
    assert world.tracker.desk.result_of(ended) == ANSWER


async def test_a_look_at_the_head_takes_no_job(world: World) -> None:
    """HEAD is not served where GET takes something."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    path = jobs_api.NEXT_JOB_PATH.format(worker=worker.id)
    answer = await world.http.head(path, headers={"X-Worker-Token": worker.token})
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert (await stored_job(world, job)).attempt == 0
    assert (await worker.next_job()).job_id == job


async def test_long_polls(world: World) -> None:
    """A job that comes while a worker waits is given to it; a job that runs makes the worker busy."""
    owner, worker = await _owner(world), await pull_worker(world)
    poll = asyncio.create_task(worker.next_job(wait=30))
    await until_waiting(world.tracker.workers.waiting, 1)
    job = await submit(world, owner)
    assert (await poll).job_id == job
    assert world.tracker.workers.presence.status_of(worker.id) == "busy"


async def test_a_worker_that_leaves_before_its_job_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is for others at once, with all of its attempts, and not only when its lease has run out."""
    owner, worker, pool = await _owner(world), await pull_worker(world), world.tracker.workers
    server = world.http.server.runner.server  # type: ignore[union-attr]  # -- the test's own server runs
    server.handler_cancellation = False  # type: ignore[union-attr]  # -- as the tracker runs it
    job, next_job = await submit(world, owner), pool.next_job

    async def take_and_leave(taker: LiveWorker, wait_s: float, is_gone: Callable[[], bool]) -> jobs_api.NextJob:
        given = await next_job(taker, wait_s, is_gone)
        assert given.job_id == job
        calling.cancel()
        while not is_gone():  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0)
        return given

    monkeypatch.setattr(pool, "next_job", take_and_leave)
    calling = asyncio.create_task(worker.get(jobs_api.NEXT_JOB_PATH))
    async with asyncio.timeout(20):
        await asyncio.wait({calling})
        while (await stored_job(world, job)).status is not JobStatus.QUEUED:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0)
    assert (await stored_job(world, job)).attempt == 0
    monkeypatch.undo()
    given = await (await pull_worker(world)).next_job()
    assert (given.job_id, given.attempt) == (job, 1)


@pytest.mark.parametrize("how", ["worker", "address", "leaves"])
async def test_a_poll_of_a_worker_that_is_shut_out_ends(world: World, how: str) -> None:
    """It is told so, and a job that comes later is not for it."""
    worker, tracker = await pull_worker(world), world.tracker
    poll = asyncio.create_task(worker.get(jobs_api.NEXT_JOB_PATH, "?wait=30"))
    await until_waiting(tracker.workers.waiting, 1)
    if how == "leaves":
        assert (await world.delete(jobs_api.WORKER_PATH.format(worker=worker.id), token=worker.token)).status == 204
    else:
        kind, subject = (BanKind.WORKER, worker.id) if how == "worker" else (BanKind.ADDRESS, "127.0.0.0/8")
        tracker.bans.replace([Ban(kind, subject, "spam", 0)])
    tracker.workers.waiting.let_go()
    problem = await world.problem(await poll)
    expected = (401, "unauthenticated") if how == "leaves" else (403, "banned")
    assert (problem.status, problem.code) == expected


async def test_a_poll_ends_with_the_tracker(world: World) -> None:
    """A stop does not wait for it."""
    poll = asyncio.create_task((await pull_worker(world)).next_job(wait=30))
    await until_waiting(world.tracker.workers.waiting, 1)
    world.tracker.workers.waiting.close()
    assert (await poll) == jobs_api.NextJob()
    assert (await (await pull_worker(world)).next_job(wait=30)) == jobs_api.NextJob()


@pytest.mark.parametrize("wait", ["31", "-1", "x", "1.5"])
async def test_waits_that_are_none(world: World, wait: str) -> None:
    """0 to 30 whole seconds."""
    assert (await (await pull_worker(world)).get(jobs_api.NEXT_JOB_PATH, f"?wait={wait}")).status == 422


@pytest.mark.parametrize("limits", [Limits(requests_per_address=2)])
async def test_waiting_is_not_being_worked_on(limited: World) -> None:
    """More workers of one address wait than requests of it are worked on at once."""
    owner = (await limited.account())[0]
    workers = [await pull_worker(limited) for _ in range(4)]
    polls = []
    for number, worker in enumerate(workers, 1):
        polls.append(asyncio.create_task(worker.next_job(wait=30)))
        await until_waiting(limited.tracker.workers.waiting, number)
    jobs = {await submit(limited, owner) for _ in workers}
    assert {(await poll).job_id for poll in polls} == jobs


@pytest.mark.parametrize("limits", [Limits(completion_body_bytes=64 * 1024)])
async def test_results_have_a_size(limited: World) -> None:
    """What is larger is refused, and the worker can say that it failed."""
    owner, worker = (await limited.account())[0], await pull_worker(limited)
    job = await submit(limited, owner)
    await worker.next_job()
    result = {"response": "a" * 70_000}
    assert (await worker.try_to_complete(job, success=True, result=result)).status == 413
    assert (await worker.complete(job, success=False, error="too large")).status == "queued"

"""What workers say of their jobs, and all that can go wrong with it."""

import asyncio
from typing import Any

import pytest
from gpunode_protocol import jobs_api
from gpunode_protocol import tracker_api as api
from gpunode_protocol.tasks import Task
from gpunode_tracker.storage.attempts import failures_of
from gpunode_tracker.storage.workers import find_worker

from tests.tracker.conftest import World
from tests.tracker.parties import TestClock, job_id
from tests.tracker.pull_workers import ANSWER, CHAT, PullWorker, pull_worker, stored_job, submit


async def _owner(world: World) -> str:
    return (await world.account())[0]


async def _failures(world: World, job: str) -> list[str]:
    async with world.tracker.database.read() as connection:
        return await failures_of(connection, job)


async def _spendable(world: World, owner: str) -> int:
    balances = {account.id: balance for account, balance in await world.admin.balances()}
    return balances[owner].spendable_microcredits


async def _problem(response: Any, status: int) -> api.Problem:
    problem = api.Problem.model_validate_json(await response.text())
    assert (response.status, problem.status) == (status, status), problem
    return problem


async def test_a_failure_goes_to_another_worker(world: World) -> None:
    """With the reason kept; the one that failed is told why it does not get it."""
    owner, one, other = await _owner(world), await pull_worker(world), await pull_worker(world)
    job = await submit(world, owner)
    await one.next_job()
    reply = await one.complete(job, success=False, error="out of\nmemory", processing_time=0.1)
    assert reply.status == "queued"
    assert await _failures(world, job) == ["out of memory"]
    assert (await one.next_job()).reasons == {"failed_here_before": 1}
    again = await other.next_job()
    assert (again.job_id, again.attempt) == (job, 2)
    assert (await other.complete(job)).status == "completed"


async def test_three_failures(world: World, clock: TestClock) -> None:
    """The job has failed, with the last reason; the only worker there is gets it again after a minute."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    for number in range(1, 4):
        assert (await worker.next_job()).attempt == number
        reply = await worker.complete(job, success=False, error=f"no {number}")
        clock.advance(61)
    assert reply.status == "failed"
    assert await _failures(world, job) == ["no 1", "no 2", "no 3"]
    assert (await stored_job(world, job)).error == "no 3"


async def test_a_failure_that_nobody_could_help(world: World) -> None:
    """Ends the job at the first attempt, with the worker's reason; what was reserved for it is free again."""
    owner, worker, other = await _owner(world), await pull_worker(world), await pull_worker(world)
    before = await _spendable(world, owner)
    job = await submit(world, owner)
    assert await _spendable(world, owner) < before
    await worker.next_job()
    reply = await worker.complete(job, success=False, retryable=False, error="The prompt is too long.")
    assert reply.status == "failed"
    ended = await stored_job(world, job)
    assert (ended.attempt, ended.error) == (1, "The prompt is too long.")
    assert await _failures(world, job) == ["The prompt is too long."]
    assert await _spendable(world, owner) == before
    assert (await other.next_job()).job_id is None
    assert await worker.complete(job, success=False, retryable=False, error="The prompt is too long.") == reply
    live = world.tracker.workers.presence.find(worker.id)
    assert live is not None
    assert live.stored.statistics.success_rate < 1  # nobody can check what it said


async def test_failures_without_words(world: World) -> None:
    """Are given some."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    await worker.complete(job, success=False)
    assert await _failures(world, job) == ["The worker could not do it and gave no reason."]


async def test_another_workers_job(world: World) -> None:
    """Is not to be told from one that never was, by completion and events alike."""
    owner, worker, thief = await _owner(world), await pull_worker(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    answers = []
    for name in (job, job_id(99), "x", "%00"):
        answers.append(await (await thief.try_to_complete(name)).text())
        answers.append(await (await thief.tell(name, attempt=1, text="a")).text())
        await _problem(await thief.try_to_complete(name, success=True, result=ANSWER, attempt=2**63 - 1), 404)
        await _problem(await thief.tell(name, attempt=2**63 - 1), 404)
    assert len(set(answers)) == 1
    await _problem(await thief.try_to_complete(job), 404)
    assert (await worker.complete(job)).status == "completed"


async def test_completing_twice(world: World) -> None:
    """The second answer is the same as the first; another answer is refused; nothing is changed."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    first = await worker.complete(job, success=True, result=ANSWER, attempt=1)
    again = {"success": True, "result": {"response": "other"}}
    assert await worker.complete(job, **again) == await worker.complete(job, attempt=1, **again) == first
    problem = await _problem(await worker.try_to_complete(job, success=False, error="no"), 409)
    assert (problem.code, "next job" in problem.detail) == ("lease_lost", True)
    assert world.tracker.desk.result_of(await stored_job(world, job)) == ANSWER


async def test_two_completions_at_once(world: World) -> None:
    """Both are answered alike, and it counts once."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    replies = await asyncio.gather(*(worker.complete(job) for _ in range(4)))
    assert len({reply.model_dump_json() for reply in replies}) == 1
    live = world.tracker.workers.presence.find(worker.id)
    assert live is not None
    assert live.stored.statistics.total_jobs == 1


async def test_failing_twice(world: World) -> None:
    """The same word is answered the same; a result comes too late."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    first = await worker.complete(job, success=False, error="no")
    assert await worker.complete(job, success=False, error="no") == first
    assert "no" in (await _problem(await worker.try_to_complete(job), 409)).detail


async def test_completing_after_the_lease_went(world: World, clock: TestClock) -> None:
    """The worker is told why and what to do; the answer of who holds it now counts."""
    owner, slow, other = await _owner(world), await pull_worker(world), await pull_worker(world)
    job = await submit(world, owner)
    await slow.next_job()
    clock.advance(61)
    assert await world.tracker.workers.outcomes.expire_leases() == 1
    problem = await _problem(await slow.try_to_complete(job), 409)
    assert (problem.code, "silent for 60 s" in problem.detail) == ("lease_lost", True)
    await other.next_job()
    await _problem(await slow.try_to_complete(job), 409)
    await _problem(await slow.try_to_complete(job, success=True, result=ANSWER, attempt=2), 404)
    assert (await other.complete(job)).status == "completed"
    assert await _failures(world, job) == ["The worker was silent for 60 s."]


async def test_a_worker_that_gets_its_lost_job_again(world: World, clock: TestClock) -> None:
    """Its older attempt is fenced out by the number."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    clock.advance(61)
    await world.tracker.workers.outcomes.expire_leases()
    clock.advance(61)
    assert (await worker.next_job()).attempt == 2
    await _problem(await worker.try_to_complete(job, success=True, result=ANSWER, attempt=1), 409)
    assert (await worker.complete(job, success=True, result=ANSWER, attempt=2)).status == "completed"


async def test_a_cancelled_job(world: World) -> None:
    """Its worker learns it by its heartbeat, its next event, or its completion."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    await world.tracker.desk.cancel(await stored_job(world, job))
    assert (await worker.heartbeat(holding={job: 1})).lost == (job,)
    assert "cancelled" in (await _problem(await worker.tell(job, attempt=1, text="a"), 409)).detail
    assert "cancelled" in (await _problem(await worker.try_to_complete(job), 409)).detail


async def test_heartbeats_renew(world: World, clock: TestClock) -> None:
    """What they name; the plan's, which name nothing, renew all that the worker holds."""
    owner, worker = await _owner(world), await pull_worker(world)
    jobs = [await submit(world, owner) for _ in range(2)]
    for _ in jobs:
        await worker.next_job()
    clock.advance(50)
    assert (await worker.heartbeat()).lost == ()
    clock.advance(50)
    assert (await worker.heartbeat("busy", holding={jobs[1]: 1})).lost == ()
    clock.advance(15)
    assert await world.tracker.workers.outcomes.expire_leases() == 1
    assert (await worker.heartbeat(holding=dict.fromkeys(jobs, 1))).lost == (jobs[0],)
    clock.advance(61)
    assert (await worker.heartbeat(holding={})).lost == ()
    assert await world.tracker.workers.outcomes.expire_leases() == 1


async def test_events(world: World, clock: TestClock) -> None:
    """Reach who follows the job, and renew the lease."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    async with world.tracker.news.follow(job) as words:
        await worker.next_job()
        for second in range(3):
            clock.advance(40)
            assert (await worker.tell(job, attempt=1, text=f"word {second} ")).status == 204
            assert await world.tracker.workers.outcomes.expire_leases() == 0
        assert (await worker.tell(job, attempt=1, step=1, total=4)).status == 204
        assert (await worker.tell(job, attempt=1)).status == 204
        await worker.complete(job)
        heard = [(word.name, word.data) for word in (words.get_nowait() for _ in range(words.qsize()))]
    assert heard == [
        ("running", {"attempt": 1, "served_by": f"worker:{worker.id}"}),
        *[("tokens", {"text": f"word {number} "}) for number in range(3)],
        ("progress", {"step": 1, "total": 4}),
        ("done", {"status": "completed"}),
    ]


async def test_many_events_are_one_renewal(world: World, clock: TestClock) -> None:
    """A worker that sends tokens all the time does not write to the database each time."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    before = (await stored_job(world, job)).lease_expires_at
    assert before is not None
    for _ in range(5):
        clock.advance(1)
        await worker.tell(job, attempt=1, text="a")
    assert (await stored_job(world, job)).lease_expires_at == before + 1
    clock.advance(5)
    await worker.tell(job, attempt=1, text="a")
    assert (await stored_job(world, job)).lease_expires_at == before + 10


@pytest.mark.parametrize(
    ("task", "params", "wrong"),
    [
        (Task.LLM, CHAT, None),
        (Task.LLM, CHAT, {}),
        (Task.LLM, CHAT, {"response": 5}),
        (Task.EMBEDDING, {"input": "a"}, {"response": "x"}),
    ],
)
async def test_results_that_are_none(world: World, task: Task, params: dict[str, Any], wrong: Any) -> None:
    """The answer says what is missing; the job is still the worker's, which may send it again."""
    owner, worker = await _owner(world), await pull_worker(world, supported_types=[task])
    job = await submit(world, owner, type=task, params=params)
    await worker.next_job()
    problem = await _problem(await worker.try_to_complete(job, success=True, result=wrong), 422)
    assert task in problem.detail
    right = {"response": "a"} if task is Task.LLM else {"embeddings": [[0.5]]}
    assert (await worker.complete(job, success=True, result=right)).status == "completed"


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
async def test_results_with_numbers_that_are_none(world: World, number: str) -> None:
    """Clients could not read them."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    body = f'{{"success": true, "result": {{"response": "a", "x": [{number}]}}}}'
    headers = {"X-Worker-Token": worker.token, "Content-Type": "application/json"}
    response = await world.http.post(jobs_api.COMPLETE_PATH.format(job=job), data=body, headers=headers)
    assert response.status == 422, await response.text()


async def test_a_stolen_token_after_a_rotation(world: World, clock: TestClock) -> None:
    """Completes nothing any more once its minute is over."""
    owner, worker = await _owner(world), await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    response = await worker.post(jobs_api.WORKER_TOKEN_PATH, {})
    renewed = PullWorker(world, worker.id, (await response.json())["token"])
    clock.advance(60)
    assert (await worker.try_to_complete(job)).status == 401
    assert (await renewed.complete(job)).status == "completed"


async def test_statistics(world: World, clock: TestClock) -> None:
    """Computed from what was seen here: the time is measured, not what the worker says of it."""
    owner, worker = await _owner(world), await pull_worker(world)
    for success in (True, False):
        job = await submit(world, owner)
        await worker.next_job()
        clock.advance(2.5)
        await worker.complete(job, success=success, result=ANSWER, processing_time=0.001)
    async with world.tracker.database.read() as connection:
        stored = await find_worker(connection, worker.id)
    assert stored is not None
    statistics = stored.statistics
    assert (statistics.avg_latency_ms, statistics.success_rate, statistics.total_jobs) == (2_500, 0.95, 2)
    live = world.tracker.workers.presence.find(worker.id)
    assert live is not None
    assert live.stored.statistics == statistics

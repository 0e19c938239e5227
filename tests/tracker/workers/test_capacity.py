"""What estimates know of pull workers."""

from gpunode_protocol.jobs_api import WorkerHeartbeat
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.estimates import AGAIN, NOT_MEASURED, Capacity, Estimate
from gpunode_tracker.storage.claim_statements import ALONE_SHUN_S, SHUN_S
from gpunode_tracker.workers.capacity import WorkerCapacities
from gpunode_tracker.workers.presence import SILENT_S, LiveWorker, Presence
from gpunode_tracker.workers.statistics import Statistics

from tests.tracker.conftest import World
from tests.tracker.parties import TestClock
from tests.tracker.pull_workers import pull_worker, stored_job, submit
from tests.tracker.workers.examples import stored_worker, worker_id


def _live(presence: Presence, number: int, status: str = "online", **changes: object) -> LiveWorker:
    worker = presence.meet(stored_worker(number, **changes), {}, read_at=0)
    presence.beat(worker, WorkerHeartbeat.model_validate({"status": status}))
    return worker


async def test_what_a_worker_can_do() -> None:
    """Its types, models, region, and the time that its jobs took; one job at once, if nothing else is known."""
    clock = TestClock()
    presence = Presence(clock, clock)
    source = WorkerCapacities(presence)
    _live(presence, 1, statistics=Statistics(avg_latency_ms=700))
    assert await source.capacities() == [
        Capacity(
            who=f"worker:{worker_id(1)}",
            tasks=frozenset({Task.LLM}),
            models=None,
            takes_unnamed=True,
            region=Region.EUROPE,
            slots=1,
            busy=0,
            processing_ms=700,
        )
    ]


async def test_what_it_has_to_do() -> None:
    """Jobs that it holds, or its word that it is busy; the answer follows its changes."""
    clock = TestClock()
    presence = Presence(clock, clock)
    source = WorkerCapacities(presence)
    worker = _live(presence, 1, "busy", models=("m",))

    async def known() -> list[tuple[int, int, object]]:
        return [(each.slots, each.busy, each.models) for each in await source.capacities()]

    assert await known() == [(1, 1, frozenset({"m"}))]
    presence.hold(worker.id, "a", 1)
    presence.hold(worker.id, "b", 1)
    assert await known() == [(2, 2, frozenset({"m"}))]
    presence.beat(worker, WorkerHeartbeat(status="online", models=("n",)))
    assert await known() == [(2, 2, frozenset({"n"}))]


async def test_who_does_not_count() -> None:
    """The silent, those in maintenance, the banned."""
    clock = TestClock()
    presence = Presence(clock, clock)
    source = WorkerCapacities(presence)
    _live(presence, 1)
    _live(presence, 2, maintenance=True)
    _live(presence, 3).ban = "spam"
    _live(presence, 4, "offline")
    assert [each.who for each in await source.capacities()] == [f"worker:{worker_id(1)}"]
    clock.advance(SILENT_S + 1)
    assert await source.capacities() == []


async def test_a_worker_that_just_came(world: World) -> None:
    """It counts at once, although others were asked for a moment ago."""
    owner, tracker = (await world.account())[0], world.tracker
    job = await stored_job(world, await submit(world, owner))
    assert (await tracker.outlook.of(job)).wait_s is None
    await (await pull_worker(world)).heartbeat()
    assert (await tracker.outlook.of(job)).wait_s == 0.0


async def test_an_estimate_after_a_failure(world: World, clock: TestClock) -> None:
    """Whoever just failed a job is not counted on for it, before it gets it again."""
    owner, tracker, worker = (await world.account())[0], world.tracker, await pull_worker(world)
    job = await submit(world, owner)
    await worker.next_job()
    await worker.complete(job, success=False, error="no")

    async def estimate() -> Estimate:
        tracker.outlook.forget()
        return await tracker.outlook.of(await stored_job(world, job))

    assert await estimate() == Estimate(0, float(ALONE_SHUN_S), AGAIN)
    clock.advance(4)
    assert (await estimate()).wait_s == ALONE_SHUN_S - 4
    busy = await pull_worker(world)
    await busy.heartbeat("busy")
    assert await estimate() == Estimate(0, None, NOT_MEASURED)
    await busy.heartbeat("online")
    assert await estimate() == Estimate(0, 0.0)
    assert (await busy.next_job()).job_id == job
    await busy.complete(job, success=False, error="no")
    clock.advance(10)
    assert await estimate() == Estimate(0, SHUN_S - 14.0, AGAIN)
    clock.advance(SHUN_S)
    await worker.heartbeat()
    assert await estimate() == Estimate(0, 0.0)


async def test_an_estimate(world: World, clock: TestClock) -> None:
    """Nobody: a note. An idle worker: no wait. A busy one: its own time for what is before the job."""
    owner, tracker = (await world.account())[0], world.tracker

    async def wait_of(job_id: str) -> float | None:
        tracker.outlook.forget()
        return (await tracker.outlook.of(await stored_job(world, job_id))).wait_s

    first = await submit(world, owner, model="special")
    assert await wait_of(first) is None
    worker = await pull_worker(world)
    await worker.heartbeat()
    assert await wait_of(first) == 0.0
    await worker.next_job()
    clock.advance(4)
    await worker.complete(first)
    clock.advance(20)
    running = await submit(world, owner)
    clock.advance(1)
    waiting = await submit(world, owner)
    assert (await worker.next_job()).job_id == running
    assert await wait_of(waiting) is not None
    assert (await wait_of(waiting) or 0) > 0

"""What a queued job has before it, from the live queue."""

from collections.abc import Sequence

import pytest
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.estimates import MANY, Capacity, Estimate
from gpunode_tracker.jobs.outlook import LIVE_S, MEASURED_S, Outlook

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import ANSWER, Queue
from tests.tracker.parties import TestClock


class Source:
    """Says who lives, and counts how often it was asked."""

    def __init__(self, *capacities: Capacity) -> None:
        self.live = list(capacities)
        self.asked = 0

    async def capacities(self) -> Sequence[Capacity]:
        """Return who lives."""
        self.asked += 1
        return self.live


def worker(
    who: str = "worker:1",
    processing_ms: float | None = 1_000.0,
    slots: int = 1,
    models: frozenset[str] | None = frozenset(),
) -> Capacity:
    """Return a worker for chats."""
    return Capacity(
        who=who,
        tasks=frozenset({Task.LLM}),
        models=models,
        region=Region.EUROPE,
        processing_ms=processing_ms,
        slots=slots,
    )


@pytest.fixture
async def account(world: World) -> str:
    """An account with 100 credits."""
    account, _ = await world.account()
    return account


def outlook(queue: Queue, *sources: Source) -> Outlook:
    """Return an outlook on the queue."""
    return Outlook(queue.tracker.database, queue.tracker.clock, sources)


async def test_jobs_that_go_before(queue: Queue, account: str, clock: TestClock) -> None:
    """Higher priority and older ones, of every lane that the same workers take from."""
    jobs = []
    for changes in ({}, {"region": "europe"}, {"priority": 9}, {"region": "asia"}):
        jobs.append(await queue.submit(account, **changes))
        clock.advance(1)
    found = [await outlook(queue, Source(worker())).of(job) for job in jobs]
    assert [item.position for item in found[:3]] == [1, 2, 0]
    assert [item.wait_s for item in found[:3]] == [1.0, 2.0, 0.0]
    assert found[3] == Estimate(2, None, found[3].note)
    assert "of another region" in found[3].note


async def test_jobs_that_name_the_same_model_otherwise_go_before(queue: Queue, account: str, clock: TestClock) -> None:
    """By an alias, in other letters, or not at all; another model's are before nobody who serves this one."""
    look, jobs = outlook(queue, Source(worker(models=frozenset({"qwen2.5-7b-instruct"})))), []
    for name in ("qwen2.5-7b", "QWEN2.5-7B-instruct", "smollm2", None, "qwen2.5-7b-instruct", "qwen2.5-7b"):
        jobs.append(await queue.submit(account, model=name))
        clock.advance(0.01)
    told = [await look.of(job) for job in jobs]
    assert [item.position for item in told if item.wait_s is not None] == [0, 1, 2, 3, 4]
    assert told[-1].wait_s == 4.0


async def test_a_lane_that_another_tracker_begins_counts_soon(queue: Queue, account: str, clock: TestClock) -> None:
    """Its jobs are in the database; one's own tracker knows at once of what was sent to it."""
    source = Source(worker(models=None))
    look, other = outlook(queue, source), outlook(queue, source)
    first = await queue.submit(account, priority=1)
    assert (await look.of(first)).position == 0
    await other.of(await queue.submit(account, priority=9, region="europe"))
    clock.advance(LIVE_S)
    assert (await look.of(first)).position == 1
    second = await queue.submit(account, priority=9, model="small")
    assert ((await look.of(second)).position, (await look.of(first)).position) == (1, 2)


async def test_jobs_of_the_same_instant_have_an_order(queue: Queue, account: str) -> None:
    """No two have the same place."""
    jobs = [await queue.submit(account) for _ in range(4)]
    look = outlook(queue, Source(worker()))
    assert sorted([(await look.of(job)).position for job in jobs]) == [0, 1, 2, 3]


async def test_a_queue_that_is_too_long_to_be_counted(
    queue: Queue, account: str, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is the least that it can be, and no wait is made of it."""
    for module in ("estimates", "outlook"):
        monkeypatch.setattr(f"gpunode_tracker.jobs.{module}.MAX_COUNTED", 2)
    jobs = []
    for _ in range(4):
        jobs.append(await queue.submit(account))
        clock.advance(1)
    found = [await outlook(queue, Source(worker())).of(job) for job in jobs]
    assert found == [Estimate(0, 0.0), Estimate(1, 1.0), Estimate(2, None, MANY), Estimate(2, None, MANY)]


async def test_all_sources_are_asked_and_not_too_often(queue: Queue, account: str, clock: TestClock) -> None:
    """Once a second, whatever the number of jobs; at once when somebody is known to have come."""
    job = await queue.submit(account)
    nodes, workers = Source(), Source()
    look = outlook(queue, nodes, workers)
    for _ in range(3):
        assert (await look.of(job)).wait_s is None
    assert (nodes.asked, workers.asked) == (1, 1)
    workers.live.append(worker())
    clock.advance(LIVE_S)
    assert (await look.of(job)).wait_s == 0.0
    workers.live.clear()
    look.forget()
    assert (await look.of(job)).wait_s is None
    assert (nodes.asked, workers.asked) == (3, 3)


async def test_what_jobs_took_lately(queue: Queue, account: str, clock: TestClock) -> None:
    """Of the type that is asked about; measured times are read anew after some seconds."""
    look = outlook(queue, Source(worker(processing_ms=None)))
    await queue.submit(account, priority=9)
    waiting, behind = await queue.submit(account, priority=1), await queue.submit(account)
    assert (await look.of(behind)).wait_s is None
    _, lease = await queue.claim()
    await queue.tracker.desk.complete(lease, ANSWER, processing_ms=7_000)
    clock.advance(MEASURED_S)
    assert [(await look.of(job)).wait_s for job in (waiting, behind)] == [0.0, 7.0]


async def test_made_up_models_do_not_fill_the_memory(
    queue: Queue, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond some kinds of jobs, nothing more is remembered."""
    monkeypatch.setattr("gpunode_tracker.jobs.outlook._MAX_REMEMBERED", 2)
    look = outlook(queue, Source(worker()))
    for job in [await queue.submit(account, model=f"m{number}") for number in range(4)]:
        await look.of(job)
    assert len(look._supplies) == 2

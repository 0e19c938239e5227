"""The jobs that are held."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from gpunode_node.delivery import Delivery
from gpunode_node.errors import TrackerUnreachable
from gpunode_node.pull.completions import Completion, CompletionOutbox
from gpunode_node.pull.courier import Courier
from gpunode_node.pull.offer import Offer
from gpunode_node.pull.workbench import MAX_HELD, Workbench
from gpunode_protocol.jobs_api import LEASE_S, CompletionReply, JobCompletion, NextJob, WorkerEvent
from gpunode_protocol.tasks import Task

from tests.engines.fake_engine import FakeEngine
from tests.node.pull.fake_queue import CHAT
from tests.node.virtual_time import virtual_time
from tests.node.world import job_id, request, running_node


class _Tracker:
    """Takes ends while it is up."""

    def __init__(self) -> None:
        self.up = True
        self.ended: list[tuple[str, JobCompletion]] = []

    async def deliver(self, name: str, body: bytes) -> CompletionReply:
        if not self.up:
            raise TrackerUnreachable("down")
        self.ended.append((name, JobCompletion.model_validate_json(body)))
        return CompletionReply(job_id=name, status="completed")

    async def tell(self, _: str, event: WorkerEvent) -> None:
        assert event.attempt


@contextlib.asynccontextmanager
async def _bench(folder: Path, engine: FakeEngine) -> AsyncIterator[tuple[Workbench, _Tracker]]:
    tracker, outbox = _Tracker(), CompletionOutbox(folder / "completions.db")
    await outbox.open()
    async with running_node(folder, engine, delivery=Delivery.WHOLE) as node:
        bench = Workbench(node.intake, Courier(outbox, tracker.deliver), tracker.tell)
        try:
            yield bench, tracker
        finally:
            await bench.close()
            await outbox.close()


def _job(attempt: int = 1, lease_s: int = LEASE_S, **changes: object) -> NextJob:
    signed = request(**changes)
    return NextJob(
        job_id=signed.body.job, type=Task.LLM, params=CHAT, attempt=attempt, lease_s=lease_s, request=signed.envelope
    )


@virtual_time
async def test_a_job_is_held_until_its_end_is_taken(tmp_path: Path) -> None:
    """A slot is free as soon as the engine is done; the lease is asked for until the tracker has the result."""
    async with _bench(tmp_path, FakeEngine(answer="abcde", tokens_per_s=1, slots=1)) as (bench, tracker):
        tracker.up = False
        job = _job(attempt=2, lease_s=30)
        bench.begin(job)
        await asyncio.sleep(2)
        assert (bench.running, bench.offer, bench.lease_s) == (1, Offer(), 30)
        await asyncio.sleep(10)
        assert (bench.running, bench.offer.models, bench.lease_s) == (0, ("fake",), LEASE_S)
        assert bench.holding == {job.job_id: 2}
        assert not bench.is_idle
        tracker.up = True
        assert await bench.wait_idle(60)
        assert (bench.holding, [name for name, _ in tracker.ended]) == ({}, [job.job_id])


@virtual_time
async def test_lost_jobs_leave(tmp_path: Path) -> None:
    """Unknown ones are none of its business."""
    async with _bench(tmp_path, FakeEngine(answer="abcde" * 9, tokens_per_s=1)) as (bench, tracker):
        job = _job()
        bench.begin(job)
        await asyncio.sleep(2)
        bench.lose(job_id(99))
        assert bench.running == 1
        bench.lose(job.job_id or "")
        assert await bench.wait_idle(10)
        assert tracker.ended == []


@virtual_time
async def test_the_same_job_once_more(tmp_path: Path) -> None:
    """The tracker gave it anew because its lease went without a word: only the newer attempt is delivered."""
    async with _bench(tmp_path, FakeEngine(answer="abcde", tokens_per_s=1)) as (bench, tracker):
        first = _job(attempt=1)
        bench.begin(first)
        await asyncio.sleep(2)
        again = request(job=first.job_id, segment=1)
        bench.begin(first.model_copy(update={"attempt": 2, "request": again.envelope}))
        assert bench.holding == {first.job_id: 2}
        assert await bench.wait_idle(60)
        assert [body.attempt for _, body in tracker.ended] == [2]


@virtual_time
async def test_what_an_earlier_process_left(tmp_path: Path) -> None:
    """It is delivered, and held until then."""
    async with _bench(tmp_path, FakeEngine()) as (bench, tracker):
        left = Completion.of(job_id(5), JobCompletion(success=False, error="x", attempt=3))
        bench.deliver([left])
        assert bench.holding == {job_id(5): 3}
        assert await bench.wait_idle(10)
        assert tracker.ended[0][1].error == "x"


@virtual_time
async def test_a_heartbeat_names_so_many_jobs_at_most(tmp_path: Path) -> None:
    """With more that cannot be delivered, nothing more is taken."""
    async with _bench(tmp_path, FakeEngine()) as (bench, tracker):
        tracker.up = False
        ends = [Completion.of(job_id(n), JobCompletion(success=False, attempt=1)) for n in range(MAX_HELD + 5)]
        bench.deliver(ends)
        assert len(bench.holding) == MAX_HELD
        assert bench.offer == Offer()


@virtual_time
async def test_the_end_of_the_process(tmp_path: Path) -> None:
    """What runs is cancelled; what waits for the tracker is on disk."""
    async with _bench(tmp_path, FakeEngine(answer="abcde", tokens_per_s=1)) as (bench, tracker):
        tracker.up = False
        bench.begin(_job())
        await asyncio.sleep(10)
        bench.begin(_job())
        await asyncio.sleep(2)
        await bench.close()
        assert bench.is_idle
    outbox = CompletionOutbox(tmp_path / "completions.db")
    assert len(await outbox.open()) == 1
    await outbox.close()

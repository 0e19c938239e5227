"""What a job's owner sees."""

from dataclasses import replace

from gpunode_protocol.jobs_api import JobView
from gpunode_tracker.jobs.estimates import NOBODY, Estimate
from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.jobs.views import served_by, view_of, whole_view

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import ANSWER, Queue
from tests.tracker.jobs.test_seals import job


def test_who_served_it() -> None:
    """A worker by its id, a node by its peer id."""
    assert served_by(job()) is None
    assert served_by(job(worker_id="w", node="12D3")) == "worker:w"
    assert served_by(job(node="12D3")) == "node:12D3"


def test_a_view_has_what_was_given() -> None:
    """And nothing sealed."""
    digest = bytes(range(32))
    ended = replace(job(), receipt_digest=digest, attempt=2, error="x", completed_at=9)
    view = view_of(ended, result={"a": None}, failures=["y"], estimate=Estimate(3, 1.5, "n"))
    assert (view.receipt, view.attempts, view.failures, view.error) == (digest.hex(), 2, ("y",), "x")
    assert (view.position, view.estimated_wait, view.note, view.result) == (3, 1.5, "n", {"a": None})
    assert JobView.model_validate_json(view.model_dump_json(exclude_none=True)) == view


async def test_all_there_is(world: World) -> None:
    """The place of a queued one, the reasons of attempts that failed, the result."""
    queue = Queue(world.tracker)
    account, _ = await world.account()
    queued = await queue.submit(account)
    assert (await whole_view(queue.tracker, queued)).note == NOBODY
    _, lease = await queue.claim("worker:a")
    await queue.tracker.desk.fail(lease, "gone")
    _, lease = await queue.claim("worker:b")
    running = await whole_view(queue.tracker, await queue.job(queued.id))
    assert (running.status, running.position, running.served_by) == (JobStatus.RUNNING, None, "worker:b")
    await queue.tracker.desk.complete(lease, ANSWER, processing_ms=1)
    view = await whole_view(queue.tracker, await queue.job(queued.id))
    assert (view.result, view.failures, view.served_by) == (ANSWER, ("gone",), "worker:b")

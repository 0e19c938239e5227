"""Attempts as workers see them, on both databases."""

from gpunode_tracker.jobs.job import Lease, Outcome, worker_holder
from gpunode_tracker.storage import attempts
from gpunode_tracker.storage.jobs import complete_job, fail_attempt
from gpunode_tracker.storage.workers import add_worker
from gpunode_tracker.tracker import Tracker

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT, job_id
from tests.tracker.workers.examples import stored_worker, worker_id
from tests.tracker.workers.queued import add_jobs, claim, queued_job

pytestmark = ON_BOTH

HOLDER, OTHER = worker_holder(worker_id(1)), worker_holder(worker_id(2))


async def _set_up(tracker: Tracker) -> None:
    async with tracker.database.write() as connection:
        for number in (1, 2):
            await add_worker(connection, stored_worker(number), bytes([number]))
    await add_jobs(tracker, queued_job(1), queued_job(2), queued_job(3))


def _lease(number: int, holder: str = HOLDER, attempt: int = 1) -> Lease:
    return Lease(job_id=job_id(number), holder=holder, attempt=attempt)


async def test_what_a_worker_holds(tracker: Tracker) -> None:
    """Its running attempts; an end takes them off."""
    await _set_up(tracker)
    assert [await claim(tracker, worker_id(1)) for _ in range(2)] == [job_id(1), job_id(2)]
    assert await claim(tracker, worker_id(2)) == job_id(3)
    async with tracker.database.write() as connection:
        assert await attempts.held_by(connection, HOLDER) == {job_id(1): 1, job_id(2): 1}
        assert await attempts.held_by_all(connection, "worker:") == {
            HOLDER: {job_id(1): 1, job_id(2): 1},
            OTHER: {job_id(3): 1},
        }
        assert await attempts.held_by_all(connection, "dispatch:") == {}
        await fail_attempt(connection, _lease(1), "no", now=START_AT + 1)
        assert await attempts.held_by(connection, HOLDER) == {job_id(2): 1}


async def test_who_failed_a_job_lately(tracker: Tracker) -> None:
    """Each failure of this job, the oldest first."""
    await _set_up(tracker)
    for number, attempt, at in ((1, 1, 0), (2, 2, 50)):
        await claim(tracker, worker_id(number), now=START_AT + at)
        async with tracker.database.write() as connection:
            await fail_attempt(
                connection, _lease(1, worker_holder(worker_id(number)), attempt), "no", now=START_AT + at
            )
    async with tracker.database.read() as connection:
        assert await attempts.failures_since(connection, job_id(1), since=START_AT - 1) == [
            (HOLDER, START_AT),
            (OTHER, START_AT + 50),
        ]
        assert await attempts.failures_since(connection, job_id(1), since=START_AT) == [(OTHER, START_AT + 50)]
        assert await attempts.failures_since(connection, job_id(2), since=0) == []


async def test_a_workers_attempt_at_a_job(tracker: Tracker) -> None:
    """Its newest, or the one of a number; never another worker's."""
    await _set_up(tracker)
    await claim(tracker, worker_id(1))
    async with tracker.database.write() as connection:
        await fail_attempt(connection, _lease(1), "no", now=START_AT + 1)
    await claim(tracker, worker_id(2))
    await claim(tracker, worker_id(1), now=START_AT + 61)  # job 2: the first one runs elsewhere
    async with tracker.database.read() as connection:
        first = await attempts.attempt_of(connection, job_id(1), HOLDER)
        assert first == attempts.Attempt(
            job_id=job_id(1), attempt=1, holder=HOLDER, started_at=START_AT, ended_at=START_AT + 1, failure="no"
        )
        assert await attempts.attempt_of(connection, job_id(1), HOLDER, 2) is None
        second = await attempts.attempt_of(connection, job_id(1), OTHER, 2)
        assert second is not None
        assert (second.ended_at, second.failure) == (None, None)
        assert await attempts.attempt_of(connection, job_id(3), HOLDER) is None


async def test_jobs_that_a_worker_has_had(tracker: Tracker) -> None:
    """Those that wait again, not those that others hold or ended; and not for ever."""
    await _set_up(tracker)
    for _ in range(3):
        await claim(tracker, worker_id(1))
    async with tracker.database.write() as connection:
        for number in (1, 2, 3):
            await fail_attempt(connection, _lease(number), "no", now=START_AT + 1)
        assert await attempts.queued_again_after(connection, HOLDER, since=START_AT) == 3
        assert await attempts.queued_again_after(connection, HOLDER, since=START_AT + 1) == 0
        assert await attempts.queued_again_after(connection, OTHER, since=START_AT - 1) == 0
    await claim(tracker, worker_id(2))
    async with tracker.database.write() as connection:
        assert await attempts.queued_again_after(connection, HOLDER, since=START_AT) == 2
        await complete_job(connection, _lease(1, OTHER, 2), Outcome(result=b"", processing_ms=1), now=START_AT + 2)
        assert await attempts.held_by(connection, OTHER) == {}


async def test_nodes_that_were_asked(tracker: Tracker) -> None:
    """Those of earlier attempts, several of one attempt; none of another holder's attempt."""
    await _set_up(tracker)
    await claim(tracker, worker_id(1))
    async with tracker.database.write() as connection:
        for node in ("p1", "p2"):
            await attempts.note_asked(connection, _lease(1), node)
        await attempts.note_asked(connection, _lease(1, OTHER), "p3")
        assert await attempts.nodes_asked(connection, job_id(1), before=1) == frozenset()
        assert await attempts.nodes_asked(connection, job_id(1), before=2) == {"p1", "p2"}
        assert await attempts.nodes_asked(connection, job_id(2), before=2) == frozenset()

"""The queue's contract, the same on every database."""

from collections.abc import Callable

import pytest
from gpunode_protocol.jobs_api import MAX_ATTEMPTS
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.job import JobStatus, Lease, StoredJob, dispatch_holder, worker_holder
from gpunode_tracker.jobs.lanes import lane_of
from gpunode_tracker.jobs.queue_order import AGING_MS
from gpunode_tracker.storage import jobs
from gpunode_tracker.storage.accounts import Account, add_account
from gpunode_tracker.storage.claim_statements import SHUN_S, OlderOnly
from gpunode_tracker.storage.tables import workers
from sqlalchemy import update

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT, job_id
from tests.tracker.storage.queued_jobs import LANE, LEASE_S, Queue, queued_job

pytestmark = ON_BOTH

SPEECH = lane_of(Task.WHISPER, None, None)
EUROPE = lane_of(Task.LLM, Region.EUROPE, None)


async def test_jobs_read_back(queue: Queue) -> None:
    """Every column."""
    job = queued_job(
        1, region="europe", model="m", params=bytes(range(256)), client_region="asia", error="é\n", processing_ms=2**40
    )
    await queue.add(job)
    assert await queue.find(1) == job


async def test_only_the_owner_finds_a_job(queue: Queue) -> None:
    """Another account sees as much of it as of a job that never was."""
    await queue.add(queued_job(1))
    async with queue.database.read() as connection:
        assert await jobs.find_job(connection, job_id(1), account_id="a") is not None
        assert await jobs.find_job(connection, job_id(1), account_id="b") is None
        assert await jobs.find_job(connection, job_id(2)) is None


async def test_an_account_lists_its_jobs(queue: Queue) -> None:
    """The newest first, in pages, by state and type."""
    async with queue.database.write() as connection:
        await add_account(connection, Account("b", "b", False), created_at=START_AT)
    await queue.add(*(queued_job(number) for number in range(1, 5)), queued_job(5, lane=SPEECH))
    await queue.add(queued_job(6, account_id="b"))
    await queue.cancel(2)

    async def listed(**filters: str) -> list[int]:
        async with queue.database.read() as connection:
            found = await jobs.jobs_of_account(connection, "a", limit=3, **filters)
        return [int(job.id[-12:], 16) for job in found]

    assert await listed() == [5, 4, 3]
    assert await listed(before_id=job_id(3)) == [2, 1]
    assert await listed(status="queued") == [5, 4, 3]
    assert await listed(status="cancelled") == [2]
    assert await listed(task="whisper") == [5]
    assert await listed(task="llm", status="queued", before_id=job_id(4)) == [3, 1]


async def test_the_oldest_goes_first(queue: Queue) -> None:
    """Among jobs of one priority, and of one second by their ids, which are in order of time."""
    await queue.add(*(queued_job(number, created_at=START_AT) for number in (3, 1, 2)), queued_job(0))
    assert await queue.take_all() == [0, 1, 2, 3]


async def test_priority_goes_before_age(queue: Queue) -> None:
    """And age before priority once it is five minutes for each step: nothing starves."""
    aging_s = AGING_MS // 1_000
    await queue.add(
        queued_job(1, priority=0, created_at=START_AT),
        queued_job(2, priority=9, created_at=START_AT + 10),
        queued_job(3, priority=1, created_at=START_AT + aging_s - 1),
        queued_job(4, priority=1, created_at=START_AT + aging_s + 1),
    )
    assert await queue.take_all() == [2, 3, 1, 4]


async def test_a_worker_gets_jobs_of_its_lanes_only(queue: Queue) -> None:
    """The first of all of them together."""
    await queue.add(queued_job(1, lane=SPEECH), queued_job(2), queued_job(3, lane=EUROPE), queued_job(4))
    assert await queue.take_all(LANE, EUROPE) == [2, 3, 4]
    assert await queue.take_all(SPEECH, EUROPE) == [1]


async def test_what_a_taken_job_says(queue: Queue) -> None:
    """Who has it, since when and until when; for the tracker's own dispatch no worker."""
    await queue.add(queued_job(1), queued_job(2))
    taken = await queue.take()
    assert taken is not None
    assert (taken.status, taken.attempt, taken.worker_id) == (JobStatus.RUNNING, 1, "w1")
    assert (taken.started_at, taken.lease_expires_at) == (queue.now, queue.now + LEASE_S)
    async with queue.database.read() as connection:
        lease = await jobs.lease_of(connection, job_id(1))
    assert lease == Lease(job_id=job_id(1), holder=worker_holder("w1"), attempt=1)
    dispatched = await queue.take(dispatch_holder("r1"))
    assert dispatched is not None
    assert dispatched.worker_id is None


async def test_nobody_holds_a_queued_job(queue: Queue) -> None:
    """Nor one that does not exist."""
    await queue.add(queued_job(1))
    async with queue.database.read() as connection:
        assert await jobs.lease_of(connection, job_id(1)) is None
        assert await jobs.lease_of(connection, job_id(2)) is None


async def test_a_lease_is_renewed(queue: Queue) -> None:
    """From now on; and it is not over while it is."""
    await queue.add(queued_job(1))
    lease = await queue.lease()
    queue.now += LEASE_S - 1
    assert await queue.expired() == []
    assert await queue.renew(lease)
    queue.now += LEASE_S - 1
    assert await queue.expired() == []
    queue.now += 1
    assert await queue.expired() == [lease]


async def test_a_holder_keeps_its_request(queue: Queue) -> None:
    """It is gone with the lease."""
    await queue.add(queued_job(1))
    lease = await queue.lease()
    async with queue.database.write() as connection:
        assert await jobs.keep_request(connection, lease, b"signed")
    assert (await queue.find(1)).request == b"signed"
    await queue.fail(lease)
    assert (await queue.find(1)).request is None
    async with queue.database.write() as connection:
        assert not await jobs.keep_request(connection, lease, b"late")
    assert (await queue.find(1)).request is None


async def test_a_job_is_completed(queue: Queue) -> None:
    """Once: what comes after changes nothing."""
    await queue.add(queued_job(1))
    lease = await queue.lease()
    queue.now += 7
    done = await queue.complete(lease, b"sealed result", node="peer", receipt_digest=b"d" * 32)
    assert done is not None
    assert (done.status, done.completed_at, done.lease_expires_at) == (JobStatus.COMPLETED, queue.now, None)
    kept = await queue.find(1)
    assert (kept.result, kept.node, kept.receipt_digest, kept.processing_ms) == (b"sealed result", "peer", b"d" * 32, 5)
    assert await queue.complete(lease, b"another") is None
    assert await queue.fail(lease) is None
    assert not await queue.renew(lease)
    assert await queue.find(1) == kept
    assert await queue.failures(1) == []


def _stolen(lease: Lease) -> Lease:
    return Lease(job_id=lease.job_id, holder=worker_holder("w2"), attempt=lease.attempt)


def _of_another_attempt(lease: Lease) -> Lease:
    return Lease(job_id=lease.job_id, holder=lease.holder, attempt=lease.attempt + 1)


def _of_another_job(lease: Lease) -> Lease:
    return Lease(job_id=job_id(2), holder=lease.holder, attempt=lease.attempt)


@pytest.mark.parametrize("forge", [_stolen, _of_another_attempt, _of_another_job])
async def test_a_foreign_lease_changes_nothing(queue: Queue, forge: Callable[[Lease], Lease]) -> None:
    """Not another worker's, not another attempt's, not for a job that is not taken."""
    await queue.add(queued_job(1), queued_job(2))
    lease = await queue.lease()
    before = [await queue.find(number) for number in (1, 2)]
    forged = forge(lease)
    assert await queue.complete(forged) is None
    assert await queue.fail(forged) is None
    assert not await queue.renew(forged)
    assert [await queue.find(number) for number in (1, 2)] == before
    assert await queue.complete(lease) is not None


async def test_a_late_holder_is_fenced_out(queue: Queue) -> None:
    """The job went to another worker meanwhile, and what that one says counts."""
    await queue.add(queued_job(1))
    late = await queue.lease("w1")
    queue.now += LEASE_S
    assert await queue.fail(late, "silent") is not None
    lease = await queue.lease("w2")
    assert await queue.complete(late, b"late") is None
    assert await queue.fail(late) is None
    assert not await queue.renew(late)
    assert await queue.complete(lease, b"in time") is not None
    assert (await queue.find(1)).result == b"in time"


async def test_the_same_holder_is_fenced_out_of_its_earlier_attempt(queue: Queue) -> None:
    """Its name alone is not enough."""
    await queue.add(queued_job(1))
    early = await queue.lease(dispatch_holder("r1"))
    await queue.fail(early)
    queue.now += SHUN_S
    newer = await queue.lease(dispatch_holder("r1"))
    assert (newer.holder, newer.attempt) == (early.holder, 2)
    assert await queue.complete(early) is None
    assert await queue.complete(newer) is not None


async def test_three_attempts_and_no_more(queue: Queue) -> None:
    """A failed one leaves the job in its old place, with its reason; the last ends it."""
    await queue.add(queued_job(1), queued_job(2))
    first = await queue.find(1)
    for number in range(1, MAX_ATTEMPTS):
        job = await queue.fail(await queue.lease(f"w{number}"), f"reason {number}")
        assert job is not None
        assert (job.status, job.attempt, job.rank, job.worker_id) == (JobStatus.QUEUED, number, first.rank, None)
    ended = await queue.fail(await queue.lease("w3"), "reason 3")
    assert ended is not None
    assert (ended.status, ended.error, ended.completed_at) == (JobStatus.FAILED, "reason 3", queue.now)
    assert await queue.failures(1) == ["reason 1", "reason 2", "reason 3"]
    assert await queue.take_all() == [2]


async def test_a_retried_job_says_since_when_it_runs(queue: Queue) -> None:
    """Since its first attempt, and at the end without the error of an earlier one."""
    await queue.add(queued_job(1))
    began_at = queue.now
    await queue.fail(await queue.lease("w1"), "once")
    queue.now += 30
    done = await queue.complete(await queue.lease("w2"))
    assert done is not None
    assert (done.started_at, done.error, done.attempt) == (began_at, None, 2)
    assert await queue.failures(1) == ["once"]


async def test_what_nobody_can_do_fails_at_once(queue: Queue) -> None:
    """Bad parameters are as bad for every other worker."""
    await queue.add(queued_job(1))
    ended = await queue.fail(await queue.lease(), "bad parameters", retryable=False)
    assert ended is not None
    assert (ended.status, ended.error, ended.attempt) == (JobStatus.FAILED, "bad parameters", 1)
    assert await queue.take_all() == []


async def test_a_worker_holds_so_many_jobs_and_no_more(queue: Queue) -> None:
    """Unless it is in maintenance, has left or was never there: then it gets none. One that ended makes room."""
    await queue.add(*(queued_job(number) for number in range(1, 6)))

    async def take(worker: str = "w1") -> StoredJob | None:
        async with queue.database.write() as connection:
            holder = worker_holder(worker)
            return await jobs.claim_job(connection, holder, (LANE,), now=queue.now, lease_s=LEASE_S, most=2)

    async def change(**fields: object) -> None:
        async with queue.database.write() as connection:
            await connection.execute(update(workers).where(workers.c.id == "w1").values(**fields))

    first = await take()
    assert first is not None
    assert await take() is not None
    assert await take() is None
    await queue.complete(Lease(job_id=first.id, holder=worker_holder("w1"), attempt=1))
    await change(maintenance=True)
    assert await take() is None
    await change(maintenance=False, deregistered_at=START_AT)
    assert await take() is None
    await change(deregistered_at=None)
    assert await take() is not None
    assert await take("w2") is not None
    assert await take("nobody") is None


async def test_another_worker_each_time(queue: Queue) -> None:
    """Whoever failed it gets the next one, and gets it again only when nobody else took it for a while."""
    await queue.add(queued_job(1), queued_job(2))
    lease = await queue.lease("w1")
    queue.now += 300  # it took its time
    await queue.renew(lease)
    await queue.fail(lease)
    queue.now += SHUN_S - 1
    assert (await queue.lease("w1")).job_id == job_id(2)
    assert await queue.take("w1") is None
    queue.now += 1
    assert (await queue.lease("w1")).job_id == job_id(1)


async def test_a_worker_may_get_it_again_sooner(queue: Queue) -> None:
    """If whoever asks for it says so."""
    await queue.add(queued_job(1))
    await queue.fail(await queue.lease("w1"))
    queue.now += 5
    assert await queue.take("w1", shun_s=6) is None
    assert (await queue.take("w1", shun_s=5)) is not None


async def test_young_jobs_of_some_lanes_are_passed_over(queue: Queue) -> None:
    """Whatever their priority; the first of those that are left is taken, and of other lanes the first of all."""
    await queue.add(queued_job(1, priority=0), queued_job(2, priority=9), queued_job(3, lane="llm/*/m"))
    before_2 = OlderOnly((LANE,), 1_000 * (START_AT + 2))
    lanes = (LANE, "llm/*/m")
    taken = [await queue.take(lanes=lanes, older_only=before_2) for _ in range(3)]
    assert [job and job.id for job in taken] == [job_id(3), job_id(1), None]
    assert await queue.take(lanes=(LANE,), older_only=before_2) is None
    assert await queue.take_all(*lanes) == [2]


async def test_others_are_not_kept_waiting_by_a_failure(queue: Queue) -> None:
    """The next worker gets it at once, as the first of the queue."""
    await queue.add(queued_job(1), queued_job(2))
    await queue.fail(await queue.lease("w1"))
    assert (await queue.lease("w2")).job_id == job_id(1)


async def test_what_dispatch_failed_is_left_alone_by_all_replicas(queue: Queue) -> None:
    """Behind them are the same nodes: as often as there are any, one of them may fail it in a while."""
    await queue.add(queued_job(1))
    for number in (1, 2):
        taken = await queue.take(dispatch_holder(f"r{number}"), shun_s=10, tries=2)
        assert taken is not None
        await queue.fail(Lease(job_id=taken.id, holder=dispatch_holder(f"r{number}"), attempt=number))
        queue.now += 3
    assert await queue.take(dispatch_holder("r3"), shun_s=10, tries=2) is None
    queue.now += 4
    assert await queue.take(dispatch_holder("r3"), shun_s=10, tries=2) is not None


async def test_a_worker_is_not_kept_from_what_dispatch_failed(queue: Queue) -> None:
    """Nor dispatch from what a worker did."""
    await queue.add(queued_job(1))
    await queue.fail(await queue.lease(dispatch_holder("r1")))
    await queue.fail(await queue.lease("w1"))
    assert await queue.take("w1") is None
    queue.now += 10
    assert await queue.take(dispatch_holder("r1"), shun_s=10) is not None


async def test_expired_leases_come_oldest_first(queue: Queue) -> None:
    """At most as many as were asked for; those that are renewed, ended or still run are not among them."""
    await queue.add(*(queued_job(number) for number in range(1, 6)))
    leases = []
    for _ in range(5):
        leases.append(await queue.lease())
        queue.now += 1
    await queue.renew(leases[0])
    await queue.complete(leases[1])
    queue.now += LEASE_S - 2  # the fifth is not over yet
    assert await queue.expired() == leases[2:4]
    async with queue.database.read() as connection:
        assert await jobs.expired_leases(connection, now=queue.now, limit=1) == leases[2:3]


async def test_how_many_jobs_go_before_one(queue: Queue) -> None:
    """Of the lanes that its workers look at, up to a limit for each."""
    last = queued_job(9)
    await queue.add(*(queued_job(number) for number in range(1, 4)), queued_job(4, lane=EUROPE), last)
    await queue.add(queued_job(5, lane=SPEECH), queued_job(10), queued_job(11, priority=9))
    async with queue.database.read() as connection:
        assert await jobs.jobs_ahead(connection, last, [LANE], limit=100) == 4
        assert await jobs.jobs_ahead(connection, last, [LANE, EUROPE], limit=100) == 5
        assert await jobs.jobs_ahead(connection, last, [LANE, EUROPE], limit=2) == 3
    await queue.take()
    async with queue.database.read() as connection:
        assert await jobs.jobs_ahead(connection, last, [LANE], limit=100) == 3


async def test_how_many_jobs_wait_in_each_lane(queue: Queue) -> None:
    """Those that run or have ended do not."""
    await queue.add(queued_job(1), queued_job(2), queued_job(3, lane=SPEECH), queued_job(4))
    await queue.take()
    await queue.cancel(4)
    async with queue.database.read() as connection:
        assert await jobs.queued_by_lane(connection) == {LANE: 1, SPEECH: 1}

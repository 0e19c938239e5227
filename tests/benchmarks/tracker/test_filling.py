from gpunode_benchmarks.tracker.effort import Effort
from gpunode_benchmarks.tracker.filling import CREDITS, KEYED_MODEL
from gpunode_protocol.tasks import Task
from gpunode_tracker.balances import account_balance
from gpunode_tracker.jobs.job import JobStatus
from gpunode_tracker.jobs.lanes import lane_of
from gpunode_tracker.storage.api_keys import holder_of_key
from gpunode_tracker.storage.jobs import jobs_of_account, queued_by_lane
from gpunode_tracker.storage.queue_heads import queue_heads

from tests.benchmarks.tracker.conftest import Served


async def test_the_queue_has_many_lanes(served: Served, small: Effort) -> None:
    """Six places and four choices of a model, which go into 12 pairs, and one lane for workers with keys."""
    async with served.tracker.database.read() as connection:
        lanes, heads = await queued_by_lane(connection), await queue_heads(connection)
        holder = await holder_of_key(connection, served.filled.api_key)
        assert holder is not None
        jobs = await jobs_of_account(connection, holder.account.id, limit=1_000)
    keyed = (small.keyed_takers + 1) * small.takes
    assert (len(lanes), sum(lanes.values()), len(heads)) == (13, small.queued_jobs + keyed, 13)
    assert heads[0].lane == lane_of(Task.LLM, None, KEYED_MODEL)
    assert {job.status for job in jobs} == {JobStatus.QUEUED}
    assert {job.priority for job in jobs} == set(range(10))


async def test_the_account_can_pay(served: Served) -> None:
    """For as many jobs as can be submitted meanwhile."""
    async with served.tracker.database.read() as connection:
        holder = await holder_of_key(connection, served.filled.api_key)
        assert holder is not None
        balance = await account_balance(connection, holder.account)
    assert 0.99 * CREDITS < balance.spendable_microcredits / 1_000_000 < CREDITS  # the rest is reserved


async def test_workers_are_live(served: Served, small: Effort) -> None:
    """The tracker finds all of them there, with tokens that it admits."""
    await served.tracker.workers.sync.read()
    assert sum(served.tracker.workers.presence.by_region().values()) == small.workers
    found = [await served.tracker.workers.find(worker.token) for worker in served.filled.workers]
    assert [worker.id for worker in found if worker is not None] == [worker.id for worker in served.filled.workers]

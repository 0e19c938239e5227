import pytest
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.effort import Effort
from gpunode_benchmarks.tracker.takes import measure_takes
from gpunode_tracker.jobs.job import WORKER_HOLDER
from gpunode_tracker.storage.attempts import held_by_all

from tests.benchmarks.tracker.conftest import Served


async def test_every_take_is_a_job(served: Served, small: Effort) -> None:
    """That the worker holds from then on."""
    takers = served.filled.workers[: small.takers]
    taken_ms = await measure_takes(served.server.address, takers, small.takes)
    assert len(taken_ms) == small.takers * small.takes
    async with served.tracker.database.read() as connection:
        held = await held_by_all(connection, WORKER_HOLDER)
    assert [len(jobs) for jobs in held.values()] == [small.takes] * small.takers


async def test_no_job_is_no_take(served: Served) -> None:
    """A worker holds four jobs at most."""
    with pytest.raises(BenchmarkFailed, match="holds_enough_jobs"):
        await measure_takes(served.server.address, served.filled.workers[:1], 5)

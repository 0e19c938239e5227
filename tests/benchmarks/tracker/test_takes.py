import pytest
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.effort import Effort
from gpunode_benchmarks.tracker.filling import KEYED_MODEL
from gpunode_benchmarks.tracker.takes import measure_takes
from gpunode_tracker.jobs.job import WORKER_HOLDER
from gpunode_tracker.storage.attempts import held_by_all
from gpunode_tracker.storage.jobs import find_job_state

from tests.benchmarks.tracker.conftest import Served


async def test_every_take_is_a_job(served: Served, small: Effort) -> None:
    """That the worker holds from then on."""
    takers = served.filled.workers[: small.takers]
    taken_ms = await measure_takes(served.server.address, takers, small.takes)
    assert len(taken_ms) == small.takers * small.takes
    async with served.tracker.database.read() as connection:
        held = await held_by_all(connection, WORKER_HOLDER)
    assert [len(jobs) for jobs in held.values()] == [small.takes] * small.takers


async def test_workers_with_keys_take_what_is_signed_for_them(served: Served, small: Effort) -> None:
    """All that was submitted for them, and nothing of the jobs without reservations, which could not be signed."""
    taken_ms = await measure_takes(served.server.address, served.filled.keyed, small.takes, are_signed=True)
    assert len(taken_ms) == (small.keyed_takers + 1) * small.takes
    async with served.tracker.database.read() as connection:
        held = await held_by_all(connection, WORKER_HOLDER)
        models = {(await find_job_state(connection, job)).model for of_one in held.values() for job in of_one}  # type: ignore[union-attr]  # -- it is held
    assert models == {KEYED_MODEL}


async def test_a_job_that_is_not_signed_is_no_keyed_take(served: Served) -> None:
    """A worker without a key gets jobs, but no requests."""
    with pytest.raises(BenchmarkFailed, match="got no job"):
        await measure_takes(served.server.address, served.filled.workers[:1], 1, are_signed=True)


async def test_no_job_is_no_take(served: Served) -> None:
    """A worker holds four jobs at most."""
    with pytest.raises(BenchmarkFailed, match="holds_enough_jobs"):
        await measure_takes(served.server.address, served.filled.workers[:1], 5)

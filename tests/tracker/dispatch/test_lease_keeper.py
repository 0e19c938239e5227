"""A job is kept while it is at a node."""

import asyncio

import pytest
from gpunode_protocol.jobs_api import LEASE_S, JobEventName
from gpunode_tracker.dispatch.lease_keeper import LeaseKeeper
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs.job import Lease
from gpunode_tracker.jobs.news import Word

from tests.tracker.dispatch.mesh_world import MeshWorld


async def test_the_lease_is_renewed_again_and_again(mesh: MeshWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while its followers hear of it all the time, and while the database is away for a moment."""
    job, lease = await mesh.claim(await mesh.submit())
    renewed = asyncio.Queue[int]()
    write, database = mesh.tracker.database.write, mesh.tracker.database

    def noted():  # type: ignore[no-untyped-def]  # noqa: ANN202 -- the context manager of ``write``
        renewed.put_nowait(1)
        if renewed.qsize() == 2:
            raise StorageUnavailable
        return write()

    monkeypatch.setattr(database, "write", noted)
    keeping = asyncio.create_task(LeaseKeeper(mesh.tracker, lease, interval_s=0.01).until_lost())
    mesh.tracker.clock.advance(30)  # type: ignore[attr-defined]  # -- the tests' clock
    async with asyncio.timeout(10):
        while renewed.qsize() < 4:
            mesh.tracker.news.tell(Word(job.id, JobEventName.TOKENS, {"text": "x"}))
            await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert (await mesh.find(job)).lease_expires_at == mesh.tracker.now + LEASE_S


async def test_a_cancelled_job_is_noticed_at_once(mesh: MeshWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the news of this process, long before the next renewal."""
    job, lease = await mesh.claim(await mesh.submit())
    renewing, write = asyncio.Event(), mesh.tracker.database.write

    def noted():  # type: ignore[no-untyped-def]  # noqa: ANN202 -- the context manager of ``write``
        renewing.set()
        return write()

    monkeypatch.setattr(mesh.tracker.database, "write", noted)
    keeping = asyncio.create_task(LeaseKeeper(mesh.tracker, lease, interval_s=3600).until_lost())
    async with asyncio.timeout(10):
        await renewing.wait()
        await mesh.tracker.desk.cancel(job)
        await keeping


async def test_a_job_that_went_elsewhere_is_noticed_by_the_next_renewal(mesh: MeshWorld) -> None:
    """What another replica does, this process may not hear of."""
    _, lease = await mesh.claim(await mesh.submit())
    gone = Lease(job_id=lease.job_id, holder=lease.holder, attempt=lease.attempt + 1)
    async with asyncio.timeout(10):
        await LeaseKeeper(mesh.tracker, gone, interval_s=3600).until_lost()

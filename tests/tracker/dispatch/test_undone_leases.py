"""A job that was taken and not tried is queued as if nothing had been."""

from gpunode_tracker.jobs.job import JobStatus, Lease
from gpunode_tracker.storage.jobs import fail_attempt, note_node, undo_lease

from tests.tracker.dispatch.mesh_world import MeshWorld
from tests.tracker.parties import TestClock


async def undo(mesh: MeshWorld, lease: Lease) -> bool:
    """Undo a lease; return whether it was in force."""
    async with mesh.tracker.database.write() as connection:
        return await undo_lease(connection, lease) is not None


async def test_no_attempt_is_counted(mesh: MeshWorld) -> None:
    """The same holder may take it again at once, under the same number."""
    job = await mesh.submit()
    _, lease = await mesh.claim(job)
    async with mesh.tracker.database.write() as connection:
        await note_node(connection, lease, "peer")
    assert (await mesh.find(job)).node == "peer"
    assert await undo(mesh, lease)
    assert await mesh.find(job) == job
    taken, again = await mesh.claim(job)
    assert (again, taken.rank) == (lease, job.rank)


async def test_earlier_attempts_stay(mesh: MeshWorld, clock: TestClock) -> None:
    """With their reasons, their numbers and the instant at which the first one began."""
    job = await mesh.submit()
    first, lease = await mesh.claim(job)
    async with mesh.tracker.database.write() as connection:
        await fail_attempt(connection, lease, "it broke", now=mesh.tracker.now)
    clock.advance(100)
    _, second = await mesh.claim(job)
    assert await undo(mesh, second)
    found = await mesh.find(job)
    assert (found.status, found.attempt, found.started_at) == (JobStatus.QUEUED, 1, first.started_at)
    assert await mesh.failures(job) == ["it broke"]
    _, again = await mesh.claim(job)
    assert again.attempt == 2


async def test_only_a_lease_in_force_can_be_undone(mesh: MeshWorld) -> None:
    """Not twice, not somebody else's, not that of a cancelled job; nothing is noted for it either."""
    job = await mesh.submit()
    _, lease = await mesh.claim(job)
    assert not await undo(mesh, Lease(job_id=job.id, holder="dispatch:elsewhere", attempt=1))
    assert await undo(mesh, lease)
    assert not await undo(mesh, lease)
    _, lost = await mesh.claim(job)
    await mesh.tracker.desk.cancel(job)
    assert not await undo(mesh, lost)
    async with mesh.tracker.database.write() as connection:
        await note_node(connection, lost, "peer")
    found = await mesh.find(job)
    assert (found.status, found.node) == (JobStatus.CANCELLED, None)

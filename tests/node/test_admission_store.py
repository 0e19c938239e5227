"""The memory of admitted requests on disk."""

from pathlib import Path

from gpunode_node.admission import JobKey, RememberedJob
from gpunode_node.admission_store import AdmissionStore

from tests.node.world import CLIENT, job_id


def _job(number: int, cost: int = 10, forget_at: int = 1_000) -> RememberedJob:
    return RememberedJob(JobKey(CLIENT.peer_id, job_id(number), 0), "grant-1", bytes(32), cost, forget_at)


async def test_jobs_come_back(tmp_path: Path) -> None:
    """What was saved is there at the next start, with its newest cost; what expired is not."""
    store = AdmissionStore(tmp_path / "admission.db")
    assert await store.open(0) == []
    for job in (_job(1), _job(1, cost=3), _job(2), _job(3, forget_at=400)):
        await store.save(job)
    await store.delete([_job(2).key])
    await store.close()
    again = AdmissionStore(tmp_path / "admission.db")
    assert await again.open(500) == [_job(1, cost=3)]
    await again.close()

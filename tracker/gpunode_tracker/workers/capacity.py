"""What the live pull workers can do, for estimates of waits."""

from collections.abc import Sequence

from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode_tracker.jobs.estimates import Capacity
from gpunode_tracker.jobs.job import worker_holder
from gpunode_tracker.workers.presence import Presence
from gpunode_tracker.workers.worker import StoredWorker, WorkerStatus


class WorkerCapacities:
    """Reads who is there; see ``jobs.outlook.CapacitySource``.

    Args:
        presence: of this process.
    """

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._made: dict[str, tuple[StoredWorker, int, bool, Capacity]] = {}

    async def capacities(self) -> Sequence[Capacity]:
        """Return what the workers can do that are to be given jobs."""
        now, made = self._presence.monotonic(), {}
        for worker in self._presence.live():
            if worker.may_work:
                held, is_busy = len(worker.holding), worker.status_at(now) is WorkerStatus.BUSY
                known = self._made.get(worker.id)
                if known is None or known[0] is not worker.stored or known[1:3] != (held, is_busy):
                    known = (worker.stored, held, is_busy, _capacity(worker.stored, held, is_busy=is_busy))
                made[worker.id] = known
        self._made = made
        return [capacity for *_, capacity in made.values()]


def _capacity(stored: StoredWorker, held: int, *, is_busy: bool) -> Capacity:
    """Return a worker's capacity.

    Nobody says how many jobs a worker does at once, so it counts as one, or as those that it holds. One that says that
    it is busy, and holds nothing of ours, has other work.
    """
    return Capacity(
        who=worker_holder(stored.id),
        tasks=frozenset(Task(each) for each in stored.supported_types),
        models=frozenset(stored.models) if stored.models else None,
        region=Region(stored.region),
        slots=max(1, held),
        busy=max(held, int(is_busy)),
        processing_ms=stored.statistics.avg_latency_ms,
    )

"""A young job is kept for a moment for whoever is nearer to its client, be that a pull worker or a node of the mesh.

Pull workers and the dispatch to mesh nodes take jobs from one queue, each as soon as it can; so do workers that ask
without waiting. Without this, whoever is fastest would have a job that a neighbour of the client waits for. What has
waited for ``KEEP_S`` goes to whoever asks, so nothing and nobody waits for somebody who does not come.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from gpunode_tracker.storage.queue_heads import Head
from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.selection import Wanted, can_do

KEEP_S: Final = 1.0
"""A policy: as long as a worker that asks every second may need, and less than an answer takes."""
ASKED_LATELY_S: Final = 2.0
"""Who asked without waiting, and got nothing, is taken to ask again so soon."""


class NearestFirst:
    """Knows who could have a job now, in this process.

    Args:
        clock: Unix seconds. monotonic: seconds.
        may_take: whether a worker is to be given jobs now.

    ``waiting`` returns the workers whose polls wait; ``mesh_km`` how far the nearest mesh node with room for a job is
    from its client, None if there is none.
    """

    def __init__(
        self, clock: Callable[[], float], monotonic: Callable[[], float], may_take: Callable[[LiveWorker], bool]
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._may_take = may_take
        self._asked: defaultdict[str, dict[str, tuple[LiveWorker, float]]] = defaultdict(dict)
        self.waiting: Callable[[], Iterable[LiveWorker]] = tuple
        self.mesh_km: Callable[[Head], int | None] = no_mesh

    def asks(self, worker: LiveWorker) -> None:
        """Note that a worker asks now: it is not waited for while it is being answered."""
        self._asked[worker.stored.region].pop(worker.id, None)

    def asked_in_vain(self, worker: LiveWorker) -> None:
        """Note that a worker asked, and got nothing."""
        now, of_region = self._monotonic(), self._asked[worker.stored.region]
        of_region.pop(worker.id, None)  # so that the oldest stands in front
        of_region[worker.id] = worker, now
        while next(iter(of_region.values()))[1] < now - ASKED_LATELY_S:
            del of_region[next(iter(of_region))]

    def is_young(self, head: Head) -> bool:
        """Return whether a job is still kept for the nearest. A clock that was set back keeps nothing."""
        return 0 <= self._clock() - head.created_at_ms / 1000 < KEEP_S

    def keeps_from_worker(self, head: Head, worker: LiveWorker) -> bool:
        """Return whether a job is not for a worker now, because somebody nearer could have it."""
        if not self.is_young(head):
            return False
        wanted = Wanted.of_lane(head.lane, head.client_region)
        way_km = wanted.way_km(worker.stored.region)
        if way_km == 0:
            return False
        nearest_node_km = self.mesh_km(head)
        if nearest_node_km is not None and nearest_node_km < way_km:
            return True
        return self._has_nearer_worker(wanted, way_km)

    def keeps_from_mesh(self, head: Head, way_km: int) -> bool:
        """Return whether a job is not for mesh nodes now, the nearest of which is so far from its client."""
        if way_km == 0 or not self.is_young(head):
            return False
        return self._has_nearer_worker(Wanted.of_lane(head.lane, head.client_region), way_km)

    def _has_nearer_worker(self, wanted: Wanted, way_km: int) -> bool:
        return any(
            wanted.way_km(worker.stored.region) < way_km and can_do(wanted, worker) and self._may_take(worker)
            for workers in (self.waiting(), self._lately(wanted, way_km))
            for worker in workers
        )

    def _lately(self, wanted: Wanted, way_km: int) -> Iterable[LiveWorker]:
        """Yield who asked lately in regions that are nearer."""
        since = self._monotonic() - ASKED_LATELY_S
        for region, askers in self._asked.items():
            if wanted.way_km(region) < way_km:
                yield from (worker for worker, at in askers.values() if at >= since)


def no_mesh(_head: Head) -> int | None:
    """Return that there is no node."""
    return None

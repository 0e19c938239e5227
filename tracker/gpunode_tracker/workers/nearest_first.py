"""A young job is kept for a moment for whoever is nearer to its client, be that a pull worker or a node of the mesh.

Pull workers and the dispatch to mesh nodes take jobs from one queue, each as soon as it can; so do workers that ask
without waiting. Without this, whoever is fastest would have a job that a neighbour of the client waits for. What has
waited for ``KEEP_S`` goes to whoever asks, so nothing and nobody waits for somebody who does not come; also what stands
in the same lane behind a job of higher priority that is kept.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Final

from gpunode_tracker.storage.claim_statements import OlderOnly
from gpunode_tracker.storage.queue_heads import Head
from gpunode_tracker.workers.by_ability import ByAbility
from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.selection import Wanted, can_do

KEEP_S: Final = 1.0
"""A policy: as long as a worker that asks every second may need, and less than an answer takes."""
ASKED_LATELY_S: Final = 2.0
"""Who asked without waiting, and got nothing, is taken to ask again so soon."""
MOST_LOOKED_AT: Final = 256
"""Of a group that can do the same: where all of so many are in maintenance or have enough, nobody is waited for."""


class NearestFirst:
    """Knows who could have a job now, in this process.

    Args:
        clock: Unix seconds. monotonic: seconds.
        may_take: whether a worker is to be given jobs now.

    ``waiting`` returns workers whose polls wait, and who are nearer to a job's client than so many km; ``mesh_km`` how
    far the nearest mesh node with room for a job is from its client, None if there is none.
    """

    def __init__(
        self, clock: Callable[[], float], monotonic: Callable[[], float], may_take: Callable[[LiveWorker], bool]
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._may_take = may_take
        self._asked_at: dict[LiveWorker, float] = {}  # the oldest stands in front
        self._asked: ByAbility[LiveWorker] = ByAbility()
        self.waiting: Callable[[Wanted, int], Iterable[LiveWorker]] = _nobody
        self.mesh_km: Callable[[Head], int | None] = no_mesh

    def asks(self, worker: LiveWorker) -> None:
        """Note that a worker asks now: it is not waited for while it is being answered."""
        self._asked_at.pop(worker, None)
        self._asked.discard(worker)

    def asked_in_vain(self, worker: LiveWorker) -> None:
        """Note that a worker asked, and got nothing."""
        now = self._monotonic()
        self.asks(worker)
        self._asked_at[worker] = now
        self._asked.put(worker, worker.stored)
        while (oldest := next(iter(self._asked_at))) is not worker and self._asked_at[oldest] < now - ASKED_LATELY_S:
            self.asks(oldest)

    def is_young(self, head: Head) -> bool:
        """Return whether a job is still kept for the nearest. A clock that was set back keeps nothing."""
        return 0 <= self._clock() - head.created_at_ms / 1000 < KEEP_S

    def older_only(self, lanes: Collection[str]) -> OlderOnly:
        """Return which jobs of lanes whose first one is kept are not: those that are not young."""
        return OlderOnly(lanes, int(1000 * (self._clock() - KEEP_S)) + 1)

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
            for workers in (self.waiting(wanted, way_km), self._lately(wanted, way_km))
            for worker in workers
        )

    def _lately(self, wanted: Wanted, way_km: int) -> Iterable[LiveWorker]:
        """Yield who asked lately in regions that are nearer."""
        since = self._monotonic() - ASKED_LATELY_S
        for km, workers in self._asked.able(wanted):
            if km < way_km:
                newest = islice(reversed(workers), MOST_LOOKED_AT)
                yield from (worker for worker in newest if self._asked_at[worker] >= since)


def _nobody(_wanted: Wanted, _way_km: int) -> Iterable[LiveWorker]:
    return ()


def no_mesh(_head: Head) -> int | None:
    """Return that there is no node."""
    return None

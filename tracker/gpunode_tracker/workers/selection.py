"""Whose turn it is when a job can be given to several workers: the original plan's rules. Pure.

The region that was asked for, else the nearest to the client's address; then ability. What stands first decides: a
better card on another continent does not make up for the way there. Of those that are equally near, the plan knows two
orders: a draw by weight, and success rate, latency, memory. The lot falls on a weight, so that everybody's chance is as
the plan's formula says; of those that weigh the same, the better one goes first.
"""

import math
import random
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Final

from gpunode_protocol.geography import REFERENCE_POINTS, distance_km
from gpunode_protocol.regions import Region

from gpunode_tracker.jobs.lanes import parts_of
from gpunode_tracker.workers.draw import drawn_order
from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.reasons import obstacle
from gpunode_tracker.workers.weight import weight_of

SAME_WEIGHT: Final = 5.0
"""Weights are the same if they round to the same multiple: what one failure in twenty takes of a success rate."""
SAME_LATENCY: Final = 1.25
"""Likewise latencies, to the same power: a few percent are chance, and would decide for ever."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a job asks for. region, model: None = any. client_region: by GeoIP of the client's address."""

    type: str
    region: str | None = None
    model: str | None = None
    client_region: str | None = None

    @classmethod
    def of_lane(cls, lane: str, client_region: str | None) -> "Wanted":
        """Return what the jobs of a lane ask for."""
        task, region, model = parts_of(lane)
        return cls(type=task, region=region, model=model, client_region=client_region)

    def way_km(self, region: str) -> int:
        """Return how far the job's client is from a region; 0 where the job names the region itself."""
        return 0 if self.region is not None else region_distance_km(region, self.client_region)


@cache  # for every worker and node that could have a job, and there are few regions
def region_distance_km(here: str, there: str | None) -> int:
    """Return how far apart the reference points of two regions are, 0 to 20,015; 0 if one is not known."""
    if there is None or here == there:
        return 0
    return distance_km(REFERENCE_POINTS[Region(here)], REFERENCE_POINTS[Region(there)])


def can_do(job: Wanted, worker: LiveWorker) -> bool:
    """Return whether a worker is in the job's region, and does its type and model."""
    return obstacle(worker.stored, job.type, job.region, job.model) is None


def turn_order(job: Wanted, workers: Iterable[LiveWorker], rng: random.Random, *, now: float) -> list[LiveWorker]:
    """Return the workers that can do a job, in the order in which it is offered to them.

    Args:
        job: what it asks for.
        workers: that could have it now, each once.
        rng: draws. now: monotonic seconds, of the presence.
    """
    able = sorted((each for each in workers if can_do(job, each)), key=lambda each: job.way_km(each.stored.region))
    order: list[LiveWorker] = []
    for _, equally_near in groupby(able, key=lambda each: job.way_km(each.stored.region)):
        order += _drawn(list(equally_near), rng, now)
    return order


def _drawn(workers: list[LiveWorker], rng: random.Random, now: float) -> list[LiveWorker]:
    """Return the workers in an order that is drawn by weight; whoever is drawn lets a better one of its weight go."""
    weights = {each.id: _weight(each, now) for each in workers}
    drawn = drawn_order(workers, lambda each: weights[each.id], rng)
    of_weight: dict[int, deque[LiveWorker]] = defaultdict(deque)
    for each in sorted(drawn, key=_merit):  # of equals, in the order in which they were drawn
        of_weight[_class(weights[each.id])].append(each)
    return [of_weight[_class(weights[each.id])].popleft() for each in drawn]


def _class(weight: float) -> int:
    return round(weight / SAME_WEIGHT)


def _weight(worker: LiveWorker, now: float) -> float:
    stored = worker.stored
    return weight_of(stored.gpu_memory_gb, stored.statistics.success_rate, worker.status_at(now))


def _merit(worker: LiveWorker) -> tuple[float, int, float]:
    """Return what sorts the best first: success rate in percent, latency, memory.

    Who was not measured yet stands before who was: one job measures it, and else it might never get one.
    """
    statistics = worker.stored.statistics
    latency = round(math.log(max(1, statistics.avg_latency_ms or 0), SAME_LATENCY))
    return -round(statistics.success_rate, 2), latency, -worker.stored.gpu_memory_gb

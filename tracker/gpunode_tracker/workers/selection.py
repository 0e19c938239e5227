"""Which workers suit a job best: the original plan's rule. Pure.

The region that was asked for, else the nearest to the client's address; then ability; then success rate, latency and
memory. What stands first decides: a better card on another continent does not make up for the way there.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gpunode_protocol.geography import REFERENCE_POINTS, distance_km
from gpunode_protocol.regions import Region

from gpunode_tracker.jobs.lanes import parts_of
from gpunode_tracker.workers.presence import LiveWorker
from gpunode_tracker.workers.reasons import obstacle


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


def region_distance_km(here: str, there: str | None) -> int:
    """Return how far apart the reference points of two regions are, 0 to 20,015; 0 if one is not known."""
    if there is None or here == there:
        return 0
    return distance_km(REFERENCE_POINTS[Region(here)], REFERENCE_POINTS[Region(there)])


def ranked(job: Wanted, workers: Iterable[LiveWorker]) -> list[LiveWorker]:
    """Return the workers that can do a job, the best first; of equals, whoever stood first."""
    able = [worker for worker in workers if obstacle(worker.stored, job.type, job.region, job.model) is None]
    return sorted(able, key=lambda worker: _order(job, worker))


def select_worker(job: Wanted, workers: Iterable[LiveWorker]) -> LiveWorker | None:
    """Return the best worker for a job, None if nobody can do it."""
    return next(iter(ranked(job, workers)), None)


def way_km(job: Wanted, worker: LiveWorker) -> int:
    """Return how far a job's client is from a worker's region; 0 where the job names the region itself."""
    return 0 if job.region is not None else region_distance_km(worker.stored.region, job.client_region)


def _order(job: Wanted, worker: LiveWorker) -> tuple[int, float, float, float]:
    statistics = worker.stored.statistics
    latency_ms = math.inf if statistics.avg_latency_ms is None else statistics.avg_latency_ms
    return way_km(job, worker), -statistics.success_rate, latency_ms, -worker.stored.gpu_memory_gb

"""What a queued job has before it: who could do it now, and how many go first."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from gpunode_protocol.regions import Region
from gpunode_protocol.requests import task_of
from gpunode_protocol.tasks import Task

from gpunode_tracker import Clock
from gpunode_tracker.jobs.estimates import (
    MAX_COUNTED,
    Capacity,
    Estimate,
    Supply,
    Wanted,
    delayed,
    estimate,
    given_again,
    supply_of,
)
from gpunode_tracker.jobs.job import StoredJob
from gpunode_tracker.storage.attempts import failures_since
from gpunode_tracker.storage.claim_statements import SHUN_S
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.jobs import jobs_ahead, recent_processing_ms
from gpunode_tracker.storage.queue_heads import queue_heads

LIVE_S: Final = 1.0
"""Who lives is asked for this often at most, however many jobs are submitted."""
MEASURED_S: Final = 10.0
_MAX_REMEMBERED: Final = 1_000
"""Kinds of jobs whose supply is remembered: anybody can make up names of models."""

_MAX_LANES: Final = 1_000
"""Lanes that are looked through for those before the same workers; of others, those of jobs that were asked about."""


class CapacitySource(Protocol):
    """Knows some of those who do queued jobs."""

    async def capacities(self) -> Sequence[Capacity]:
        """Return those who live now."""
        ...


class Outlook:
    """Estimates waits.

    Args:
        database: of the queue.
        clock: Unix seconds.
        sources: who knows who lives; more may be added.
    """

    def __init__(self, database: Database, clock: Clock, sources: Sequence[CapacitySource] = ()) -> None:
        self.sources = list(sources)
        self._database = database
        self._clock = clock
        self._capacities: tuple[Capacity, ...] = ()
        self._names: Mapping[Task, frozenset[str]] = {}
        self._supplies: dict[Wanted, Supply] = {}
        self._lanes: dict[str, None] = {}  # that have jobs, those first whose jobs go first
        self._seen_at: float | None = None
        self._means_ms: Mapping[str, float] = {}
        self._measured_at: float | None = None

    def forget(self) -> None:
        """Ask the sources anew next time: somebody came or went."""
        self._seen_at = None

    async def of(self, job: StoredJob) -> Estimate:
        """Return what a queued job has before it."""
        wanted = Wanted(task_of(job.type), Region(job.region) if job.region else None, job.model)
        await self._look()
        if job.lane not in self._lanes:  # it is new, and before jobs of other lanes from now on
            self._lanes[job.lane] = None
            self._supplies = {}
        supply, now, failures = await self.supply(wanted), self._clock(), list[tuple[str, int]]()
        capacities = self._capacities  # those of the supply; others may ask anew meanwhile
        async with self._database.read() as connection:
            ahead = await jobs_ahead(connection, job, supply.lanes, limit=MAX_COUNTED)
            if job.attempt:
                failures = await failures_since(connection, job.id, since=int(now) - SHUN_S)
            if _is_old(self._measured_at, now, MEASURED_S):
                self._means_ms = await recent_processing_ms(connection)
                self._measured_at = now
        mean_ms = self._means_ms.get(job.type)
        again_at = {who: at for who, at in given_again(supply.who, failures).items() if at > now}
        if not again_at:
            return estimate(supply, ahead, mean_ms)
        others = supply_of(wanted, [capacity for capacity in capacities if capacity.who not in again_at])
        if others.slots:
            return estimate(others, ahead, mean_ms)
        return delayed(estimate(supply, ahead, mean_ms), min(again_at.values()) - int(now))

    async def names(self, task: Task) -> frozenset[str]:
        """Return the models that those who live serve by name."""
        await self._look()
        return self._names.get(task, frozenset())

    async def supply(self, wanted: Wanted) -> Supply:
        """Return who can do some kind of job now."""
        await self._look()
        found = self._supplies.get(wanted)
        if found is None:
            found = supply_of(wanted, self._capacities, self._lanes)
            if len(self._supplies) < _MAX_REMEMBERED:
                self._supplies[wanted] = found
        return found

    async def _look(self) -> None:
        if not _is_old(self._seen_at, self._clock(), LIVE_S):
            return
        self._capacities = tuple([item for source in self.sources for item in await source.capacities()])
        self._names = {
            task: frozenset(name for each in self._capacities if task in each.tasks for name in each.models or ())
            for task in Task
        }
        async with self._database.read() as connection:
            self._lanes = {head.lane: None for head in (await queue_heads(connection))[:_MAX_LANES]}
        self._supplies = {}
        self._seen_at = self._clock()


def _is_old(at: float | None, now: float, limit_s: float) -> bool:
    return at is None or not 0 <= now - at < limit_s

"""Workers that can do the same in the same region stand together, so that a job is compared with few groups. Pure.

There may be ten thousand workers, and every job and every poll asks who could have it.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gpunode_tracker.workers.reasons import obstacle
from gpunode_tracker.workers.selection import Wanted
from gpunode_tracker.workers.worker import StoredWorker

T = TypeVar("T", bound=Hashable)
Place = tuple[str, tuple[Any, ...], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Group(Generic[T]):
    like: StoredWorker
    items: dict[T, None] = field(default_factory=dict)


class ByAbility(Generic[T]):
    """Keeps workers, or what belongs to one each, in groups."""

    def __init__(self) -> None:
        self._groups: dict[Place, _Group[T]] = {}
        self._places: dict[T, Place] = {}

    def put(self, item: T, worker: StoredWorker) -> None:
        """Keep an item as the newest of its group; one that was kept before has its place no more.

        Args:
            item: to keep.
            worker: what it can do now.
        """
        self.discard(item)
        place = worker.region, tuple(worker.supported_types), tuple(worker.models)
        group = self._groups.get(place)
        if group is None:
            group = self._groups[place] = _Group(worker)
        group.items[item] = None
        self._places[item] = place

    def discard(self, item: T) -> None:
        """Keep an item no more, if it is kept."""
        place = self._places.pop(item, None)
        if place is None:
            return
        items = self._groups[place].items
        del items[item]
        if not items:
            del self._groups[place]

    def able(self, job: Wanted) -> Iterator[tuple[int, dict[T, None]]]:
        """Yield the groups that can do a job: how far its client is, in km, and the items, the oldest first."""
        for group in self._groups.values():
            if obstacle(group.like, job.type, job.region, job.model) is None:
                yield job.way_km(group.like.region), group.items

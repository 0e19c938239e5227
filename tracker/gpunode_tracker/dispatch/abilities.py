"""What live mesh nodes can do, by the tracker's own index. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from gpunode._model_names import resolve_name
from gpunode_protocol.adverts import Advert
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode_tracker.jobs.lanes import parts_of


@dataclass(frozen=True)
class Abilities:
    """Answers for lanes of the queue.

    served: regions of the live nodes by task and model. default_models: for jobs that name none, by task.
    """

    served: Mapping[tuple[Task, str], frozenset[Region]]
    default_models: Mapping[Task, str]

    @classmethod
    def of(cls, live: Iterable[Advert], default_models: Mapping[Task, str]) -> Self:
        """Return what nodes can do, by their live adverts."""
        served: dict[tuple[Task, str], set[Region]] = {}
        for advert in live:
            served.setdefault((advert.model.task, advert.model.name), set()).add(advert.region)
        return cls({key: frozenset(regions) for key, regions in served.items()}, default_models)

    def regions_for(self, lane: str) -> frozenset[Region]:
        """Return the regions in which a live node can do the jobs of a lane, none if nobody can."""
        name, region, wanted = parts_of(lane)
        task = Task(name)
        model = wanted or self.default_models.get(task)
        names = {served for of_task, served in self.served if of_task is task}
        meant = names if model is None else {resolve_name(model, names)}
        found = frozenset[Region]().union(*(self.served.get((task, each or ""), frozenset()) for each in meant))
        return found if region is None else found & {Region(region)}

"""What live mesh nodes can do, by the tracker's own index. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from gpunode._model_names import resolve_name
from gpunode_protocol.adverts import Advert
from gpunode_protocol.identity import PeerId
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode_tracker.jobs.lanes import parts_of


@dataclass(frozen=True)
class Abilities:
    """Answers for lanes of the queue.

    served: the live nodes by task and model, with their regions. default_models: for jobs that name none, by task.
    """

    served: Mapping[tuple[Task, str], Mapping[PeerId, Region]]
    default_models: Mapping[Task, str]

    @classmethod
    def of(cls, live: Iterable[Advert], default_models: Mapping[Task, str]) -> Self:
        """Return what nodes can do, by their live adverts."""
        served: dict[tuple[Task, str], dict[PeerId, Region]] = {}
        for advert in live:
            served.setdefault((advert.model.task, advert.model.name), {})[advert.peer] = advert.region
        return cls(served, default_models)

    def nodes_for(self, lane: str) -> Mapping[PeerId, Region]:
        """Return the live nodes that can do the jobs of a lane, with their regions."""
        name, region, wanted = parts_of(lane)
        task = Task(name)
        model = wanted or self.default_models.get(task)
        names = {served for of_task, served in self.served if of_task is task}
        meant = names if model is None else {resolve_name(model, names)}
        found = {peer: at for each in meant for peer, at in self.served.get((task, each or ""), {}).items()}
        return found if region is None else {peer: at for peer, at in found.items() if at == region}

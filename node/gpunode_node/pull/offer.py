"""What a pull worker can take now: the models that have a free slot."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpunode_protocol.tasks import Task

from gpunode_node.served_model import ServedModel


@dataclass(frozen=True)
class Offer:
    """tasks, models: of those with a free slot, each once; empty = nothing can be taken."""

    tasks: tuple[Task, ...] = ()
    models: tuple[str, ...] = ()


def offer_of(models: Sequence[ServedModel], taken: Iterable[str]) -> Offer:
    """Return the offer.

    Args:
        models: that are served.
        taken: for each job that is held, the model that it is for; one that nobody serves takes no slot.
    """
    jobs = Counter(taken)
    free = [model for model in models if jobs[model.name] < model.scheduler.slots]
    return Offer(
        tasks=tuple(dict.fromkeys(model.task for model in free)),
        models=tuple(dict.fromkeys(model.name for model in free)),
    )

"""What the live mesh nodes can do, by their adverts: the first source of those who do queued jobs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from gpunode._model_names import resolve_name
from gpunode_protocol.adverts import Advert
from gpunode_protocol.tasks import Task

from gpunode_tracker import Clock
from gpunode_tracker.jobs.estimates import Capacity
from gpunode_tracker.jobs.job import NODE
from gpunode_tracker.region_index import RegionIndex

TYPICAL_UNITS: Final[Mapping[Task, tuple[int, int]]] = {
    Task.LLM: (256, 256),
    Task.IMAGE_GEN: (0, 512 * 512 * 30 // 1024),
    Task.WHISPER: (0, 60_000),
    Task.EMBEDDING: (256, 0),
}
"""Input and output units of a job that is neither large nor small: only until jobs of the type were measured."""
_MS_PER_S: Final = 1_000
_MILLI: Final = 1_000


class MeshCapacities:
    """Reads the tracker's index.

    Args:
        index: live adverts.
        default_models: which model a job means that names none.
        clock: Unix seconds.
        is_reachable: whether jobs can be sent to nodes now: without a mesh, they cannot.
    """

    def __init__(
        self,
        index: RegionIndex,
        default_models: Mapping[Task, str],
        clock: Clock,
        is_reachable: Callable[[], bool],
    ) -> None:
        self._index = index
        self._default_models = default_models
        self._clock = clock
        self._is_reachable = is_reachable

    async def capacities(self) -> Sequence[Capacity]:
        """Return what the nodes can do, one capacity a model."""
        return list(self._read()) if self._is_reachable() else []

    def _read(self) -> Iterator[Capacity]:
        live = list(self._index.live(self._clock()))
        defaults = {
            resolve_name(default, {advert.model.name for advert in live if advert.model.task is task})
            for task, default in self._default_models.items()
        }
        for advert in live:
            model = advert.model
            yield Capacity(
                who=f"{NODE}{advert.peer}",
                tasks=frozenset({model.task}),
                models=frozenset({model.name}),
                takes_unnamed=model.name in defaults or model.task not in self._default_models,
                resolves_names=True,
                region=advert.region,
                slots=model.slots,
                busy=advert.load.active + advert.load.queued,
                processing_ms=typical_ms(advert),
            )


def typical_ms(advert: Advert) -> float | None:
    """Return what a typical job takes at the speed that the node has measured, None if it states none."""
    speed = advert.model.speed
    parts_ms = [
        _spent_ms(units, milliunits_per_s)
        for units, milliunits_per_s in zip(
            TYPICAL_UNITS[advert.model.task],
            (speed.input_milliunits_per_s, speed.output_milliunits_per_s),
            strict=True,
        )
    ]
    known = [part for part in parts_ms if part is not None]
    return sum(known) if len(known) == len(parts_ms) else None


def _spent_ms(units: int, milliunits_per_s: int) -> float | None:
    if not units:
        return 0.0
    return _MS_PER_S * _MILLI * units / milliunits_per_s if milliunits_per_s else None

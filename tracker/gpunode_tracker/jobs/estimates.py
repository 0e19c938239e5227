"""How long a queued job has to wait, from those who live now and from measured times only. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import Final, NamedTuple

from gpunode._model_names import resolve_name, served_name
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode_tracker.jobs.job import DISPATCH_HOLDER, NODE
from gpunode_tracker.jobs.lanes import lane_of, parts_of
from gpunode_tracker.storage.claim_statements import ALONE_SHUN_S, SHUN_S

MAX_COUNTED: Final = 1_000
"""Jobs ahead are counted so far in each lane. Behind as many there is no estimate: there may be far more."""
_MAX_LANES: Final = 48
_MS_PER_S: Final = 1_000

NOBODY: Final = "No live worker or node can do this now: none is online."
NOT_MEASURED: Final = "Somebody can do this, but how long jobs of this type take has not been measured yet."
MANY: Final = f"{MAX_COUNTED:,} or more jobs go before this one: no further ones are counted, and no wait is estimated."
AGAIN: Final = "Whoever can do this failed it just before, and is given it again after a while."


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Somebody who lives and does queued jobs; of a mesh node, one of its models.

    Args:
        who: ``worker:<id>`` or ``node:<peer>``, the same for all capacities of one participant.
        tasks: that it can do.
        models: that it serves, by name or by an alias of the catalogue; None = whatever comes of its tasks.
        takes_unnamed: whether it gets jobs that name no model.
        resolves_names: whether any shorter name means one that is served if that is clear, as for the client library,
            with which jobs are sent to mesh nodes.
        region: None = nobody knows, so it gets no job of a region.
        slots: jobs at once, ≥ 1.
        busy: jobs that it works on, or has waiting itself.
        processing_ms: mean of what its jobs took, or take by its measured speed; None = not measured.
    """

    who: str
    tasks: frozenset[Task]
    models: frozenset[str] | None = frozenset()
    takes_unnamed: bool = True
    resolves_names: bool = False
    region: Region | None = None
    slots: int = 1
    busy: int = 0
    processing_ms: float | None = None


class Wanted(NamedTuple):
    """What decides who can do a job. None = any."""

    task: Task
    region: Region | None
    model: str | None

    @classmethod
    def of_lane(cls, lane: str) -> "Wanted":
        """Return what the jobs of a lane want."""
        task, region, model = parts_of(lane)
        return cls(Task(task), None if region is None else Region(region), model)


class Fit(IntEnum):
    """How far a capacity fits; the larger, the closer."""

    OTHER_TYPE = 0
    LACKS_THE_MODEL = 1
    ELSEWHERE = 2
    ABLE = 3


_REASONS: Final = {
    Fit.OTHER_TYPE: ("does not do this type", "do not do this type"),
    Fit.LACKS_THE_MODEL: ("lacks the model", "lack the model"),
    Fit.ELSEWHERE: ("is of another region", "are of another region"),
}


@dataclass(frozen=True)
class Supply:
    """Who can do some kind of job.

    Args:
        slots, busy: of all who can, together.
        processing_ms: mean over the measured ones' slots; None = none is.
        lanes: whose jobs they take, too.
        note: why nobody can; empty if somebody can.
        who: can, each once, however many models it serves.
    """

    slots: int
    busy: int
    processing_ms: float | None
    lanes: tuple[str, ...]
    note: str
    who: frozenset[str]


@dataclass(frozen=True)
class Estimate:
    """How long a job has to wait.

    Args:
        position: jobs that go before; from ``MAX_COUNTED`` on, at least so many.
        wait_s: seconds until it starts, 0 = somebody has a slot for it; None = not known, ``note`` says why.
    """

    position: int
    wait_s: float | None
    note: str = ""


def fit_of(capacity: Capacity, wanted: Wanted) -> Fit:
    """Return how far a capacity fits."""
    if wanted.task not in capacity.tasks:
        return Fit.OTHER_TYPE
    if not _serves(capacity, wanted.model):
        return Fit.LACKS_THE_MODEL
    if wanted.region is not None and wanted.region is not capacity.region:
        return Fit.ELSEWHERE
    return Fit.ABLE


def _serves(capacity: Capacity, model: str | None) -> bool:
    if model is None:
        return capacity.takes_unnamed
    return capacity.models is None or served_name(model, capacity.models) is not None


def supply_of(wanted: Wanted, capacities: Sequence[Capacity], lanes: Iterable[str] = ()) -> Supply:
    """Return who can do some kind of job.

    Args:
        wanted: the kind.
        capacities: who lives.
        lanes: that have jobs, those first that matter most: no more than 48 are counted.
    """
    names = _resolvable(wanted.task, capacities)
    resolved = _resolved(wanted, names)
    able: list[Capacity] = []
    best: dict[str, Fit] = {}
    for capacity in capacities:
        fit = fit_of(capacity, resolved if capacity.resolves_names else wanted)
        best[capacity.who] = max(fit, best.get(capacity.who, fit))
        if fit is Fit.ABLE:
            able.append(capacity)
    measured = [(capacity.processing_ms, capacity.slots) for capacity in able if capacity.processing_ms is not None]
    weight = sum(slots for _, slots in measured)
    return Supply(
        slots=sum(capacity.slots for capacity in able),
        busy=sum(capacity.busy for capacity in able),
        processing_ms=sum(ms * slots for ms, slots in measured) / weight if weight else None,
        lanes=_lanes(wanted, able, lanes, names),
        note="" if able else _why_nobody(Counter(best.values())),
        who=frozenset(capacity.who for capacity in able),
    )


def _resolvable(task: Task, capacities: Sequence[Capacity]) -> frozenset[str]:
    """Return the models of a task that are served where any shorter name may mean them."""
    mine = (capacity for capacity in capacities if capacity.resolves_names and task in capacity.tasks)
    return frozenset(name for capacity in mine for name in capacity.models or ())


def _resolved(wanted: Wanted, names: Collection[str]) -> Wanted:
    """Return what is wanted, with the model by the one of some names that it means, if that is clear."""
    if wanted.model is None:
        return wanted
    return wanted._replace(model=resolve_name(wanted.model, names) or wanted.model)


def _lanes(wanted: Wanted, able: Sequence[Capacity], lanes: Iterable[str], names: Collection[str]) -> tuple[str, ...]:
    """Return the lanes whose jobs are before the same workers, the job's own first; at most 48.

    A lane has the name that its jobs were sent with, so those of one model may stand in several. Where nobody is able,
    they are those before somebody who just is.
    """
    own = lane_of(*wanted)
    if not able:
        models = frozenset() if wanted.model is None else frozenset({wanted.model})
        able = [Capacity(who="", tasks=frozenset({wanted.task}), models=models, region=wanted.region)]
    kinds = {(each.models, each.takes_unnamed, each.resolves_names, each.region): each for each in able}.values()

    def is_before_them(lane: str) -> bool:
        other = Wanted.of_lane(lane)
        if lane == own or other.task is not wanted.task:
            return False
        resolved = _resolved(other, names)
        return any(fit_of(each, resolved if each.resolves_names else other) is Fit.ABLE for each in kinds)

    return (own, *islice(filter(is_before_them, lanes), _MAX_LANES - 1))


def _why_nobody(fits: Counter[Fit]) -> str:
    online = fits.total()
    if not online:
        return NOBODY
    parts = [f"{fits[fit]} {words[fits[fit] > 1]}" for fit, words in _REASONS.items() if fits[fit]]
    return f"No live worker or node can do this now: {online} {'is' if online == 1 else 'are'} online, " + (
        ", ".join(parts) + "."
    )


def estimate(supply: Supply, ahead: int, type_ms: float | None) -> Estimate:
    """Return how long a job has to wait.

    Args:
        supply: who can do it.
        ahead: queued jobs that go before it, counted up to ``MAX_COUNTED`` in each lane.
        type_ms: mean of what jobs of its type took lately, None = there were none.
    """
    if not supply.slots:
        return Estimate(ahead, None, supply.note)
    if ahead >= MAX_COUNTED:  # below it no lane's count was cut
        return Estimate(ahead, None, MANY)
    to_finish = max(0, ahead + supply.busy + 1 - supply.slots)
    if not to_finish:
        return Estimate(ahead, 0.0)
    mean_ms = supply.processing_ms if type_ms is None else type_ms
    if mean_ms is None:
        return Estimate(ahead, None, NOT_MEASURED)
    return Estimate(ahead, round(to_finish * mean_ms / supply.slots / _MS_PER_S, 3))


def given_again(able: Collection[str], failures: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Return from when on those get a job again who failed it lately, as they are given jobs; Unix seconds.

    Args:
        able: who can do it.
        failures: holder and instant of each failed attempt of the last ``SHUN_S``, the oldest first.
    """
    if not failures:  # as of most jobs, and there may be thousands who are able
        return {}
    shun_s = ALONE_SHUN_S if len(able) == 1 else SHUN_S
    again_at = {holder: at + shun_s for holder, at in failures if holder in able}
    nodes = [who for who in able if who.startswith(NODE)]
    sent = [at for holder, at in failures if holder.startswith(DISPATCH_HOLDER)]
    if nodes and len(sent) >= len(nodes):
        again_at |= dict.fromkeys(nodes, sent[-len(nodes)] + ALONE_SHUN_S)
    return again_at


def delayed(plain: Estimate, again_s: int) -> Estimate:
    """Return the estimate of a job that everybody who can do it failed lately, and gets again in ``again_s`` s."""
    if plain.wait_s is None or again_s <= plain.wait_s:
        return plain
    return Estimate(plain.position, float(again_s), AGAIN)

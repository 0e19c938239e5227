"""From a caller's demands to what the search for a node asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpunode_protocol.doubts import PLACE_DOUBTFUL
from gpunode_protocol.payloads import Params, input_tokens_bound, worst_case_output_units
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT, PriceTable
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NetworkInfo

from gpunode._cost import TYPICAL_SIZE, JobSize, size_of
from gpunode._finder import Objection, Placement, no_objection
from gpunode._home import HomeKeeper
from gpunode._job_cost import cost_microcredits
from gpunode._own_nodes import OwnNodes
from gpunode._selection import Candidate, Wanted
from gpunode.errors import InvalidRequest
from gpunode.routing import Limits


@dataclass(frozen=True)
class Demand:
    """What a caller asks for. model None = the network's default; region None = anywhere; limits None = the client's.

    params: of the job, None while there is none yet.
    """

    task: Task
    model: str | None = None
    region: Region | None = None
    limits: Limits | None = None
    params: Params | None = None


class Placer:
    """Applies the client's settings to demands.

    Args:
        home: knows the client's region. limits: the client's, where a call brings none.
        own_nodes: see there.
    """

    def __init__(self, home: HomeKeeper, limits: Limits, own_nodes: OwnNodes) -> None:
        self._home = home
        self._limits = limits
        self._own_nodes = own_nodes

    async def placement(self, demand: Demand, *, info: NetworkInfo, size: JobSize | None = None) -> Placement:
        """Return what to search for; size: of a job that has no parameters yet.

        Raises:
            InvalidRequest: demands that contradict each other or the settings.
            Unauthorized, TrackerUnreachable: who the own nodes are cannot be asked.
        """
        limits = self._limits if demand.limits is None else demand.limits
        wanted = Wanted(
            task=demand.task,
            model=demand.model or info.default_models.get(demand.task),
            region=demand.region or await self._only_home(limits),
            limits=limits,
            own=await self._own_nodes.ids() if limits.own_nodes else None,
        )
        sized = size or (TYPICAL_SIZE if demand.params is None else size_of(demand.params))
        home = self._home.current()
        doubtful = frozenset[str](info.doubtful_places)
        objections = (_too_dear(limits, demand, info.prices, sized), _elsewhere(limits, doubtful))
        return Placement(wanted, home.region, sized, _first_of(objections), home.taken_from, doubtful)

    def region_now(self, demand: Demand) -> tuple[bool, Region | None]:
        """Return whether the region is known at once in which will be searched, and that region, None = all."""
        limits = self._limits if demand.limits is None else demand.limits
        if demand.region is not None or limits.widen:
            return True, demand.region
        home = self._home.current().region
        return home is not None, home

    async def _only_home(self, limits: Limits) -> Region | None:
        if limits.widen:
            return None
        home = await self._home.settled()  # the one job that cannot go without it
        if home.region is None:
            raise InvalidRequest(
                "To stay in the client's own region, it must be known, and neither its address nor its measurements "
                "tell it ('gpunode regions' says why). Name it: region=…, --region or GPUNODE_REGION."
            )
        return home.region


def _first_of(objections: Sequence[Objection]) -> Objection:
    """Return what refuses whatever one of these refuses, for the first one's reason."""

    def objection(candidate: Candidate) -> str | None:
        return next((told for other in objections if (told := other(candidate)) is not None), None)

    return objection


def _elsewhere(limits: Limits, doubtful: frozenset[str]) -> Objection:
    """Return what refuses nodes whose place is doubtful, if they are not wanted."""
    if not limits.exclude_doubtful_places:
        return no_objection
    return lambda candidate: PLACE_DOUBTFUL if candidate.node in doubtful else None


def _too_dear(limits: Limits, demand: Demand, prices: PriceTable, size: JobSize) -> Objection:
    """Return what refuses models that cost more than the limit; without parameters the expected size counts."""
    if limits.max_price_credits is None:
        return no_objection
    most_credits = limits.max_price_credits
    cost_of = _price_list(demand, prices, size)

    def objection(candidate: Candidate) -> str | None:
        may_cost = cost_of(candidate.body.model.name) / MICROCREDITS_PER_CREDIT
        if may_cost <= most_credits:
            return None
        return f"may cost {may_cost:g} credits, the limit is {most_credits:g}"

    return objection


def _price_list(demand: Demand, prices: PriceTable, size: JobSize) -> Callable[[str], int]:
    if demand.params is None:
        units = size.input_units, size.output_units
    else:
        units = input_tokens_bound(demand.params), worst_case_output_units(demand.params)
    return lambda model: cost_microcredits(prices, demand.task, model, *units)

"""Looking for nodes that do a queued job."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final, Protocol

from gpunode._placing import Demand
from gpunode._selection import Choice
from gpunode.errors import NoNodeFound
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode_tracker.dispatch.pauses import Pauses
from gpunode_tracker.dispatch.preference import is_free, preferred

ENOUGH: Final = 4
"""With so many nodes and one of them free, no farther region is looked into: as many as a job asks at most."""


class NodeSource(Protocol):
    """Finds and probes nodes: ``gpunode._session.Session``."""

    async def choices(self, demand: Demand, *, anew: bool = False) -> list[Choice]:
        """Return whom a job would ask now; anew: also if nodes are known from before; raises ``NoNodeFound``."""
        ...


class NodeLook:
    """Looks for nodes, and remembers for some seconds in which regions nobody answered: each look there takes 2 s.

    Args:
        source: finds them.
        monotonic: seconds.
    """

    def __init__(self, source: NodeSource, monotonic: Callable[[], float]) -> None:
        self._source = source
        self._monotonic = monotonic
        self._silent: Pauses[tuple[Task, str | None, Region | None]] = Pauses()

    async def find(
        self,
        demand: Demand,
        regions: Sequence[Region | None],
        client: Region | None,
        *,
        anew: bool = False,
        had: Collection[str] = (),
    ) -> list[Choice]:
        """Return the nodes to ask for a job, the preferred first, at least one.

        Args:
            demand: what the job asks for; its region is replaced by those of ``regions``.
            regions: to look in, one after the other until there are enough.
            client: see ``preference``.
            anew: search for nodes, also if some are known from before.
            had: nodes that had the job before: only if nobody else answers, they are asked once more.

        Raises:
            NoNodeFound: nobody serves it. ClientError: the network is not reachable.
        """
        found: list[Choice] = []
        nobody = NoNodeFound("No live node can do this job now.")
        for region in self._heard(demand, regions):
            try:
                found += await self._look_in(demand, region, anew=anew)
            except NoNodeFound as error:
                nobody = error
            others = [choice for choice in found if choice.node not in had]
            if len(others) >= ENOUGH and any(is_free(choice) for choice in others):
                break
        if not found:
            raise nobody
        others = [choice for choice in found if choice.node not in had]
        return preferred(others if any(choice.probe is not None for choice in others) else found, client)

    def forget(self) -> None:
        """Forget who was silent: somebody new has come."""
        self._silent.clear()

    async def _look_in(self, demand: Demand, region: Region | None, *, anew: bool) -> list[Choice]:
        key = demand.task, demand.model, region
        choices = await self._source.choices(replace(demand, region=region), anew=anew)
        if any(choice.probe is not None for choice in choices):
            self._silent.succeeded(key)
        else:
            self._silent.failed(key, self._monotonic())
        return choices

    def _heard(self, demand: Demand, regions: Sequence[Region | None]) -> Sequence[Region | None]:
        """Return the regions in which somebody may answer; all of them if nobody did anywhere."""
        now = self._monotonic()
        self._silent.forget_old(now)
        silent = {region for region in regions if self._silent.is_paused((demand.task, demand.model, region), now)}
        return [region for region in regions if region not in silent] or regions

"""Looking for nodes that do a queued job."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from gpunode._placing import Demand
from gpunode._selection import Choice
from gpunode.errors import NoNodeFound
from gpunode_protocol.regions import Region

from gpunode_tracker.dispatch.preference import is_free, preferred

ENOUGH: Final = 4
"""With so many nodes and one of them free, no farther region is looked into: as many as a job asks at most."""


class NodeSource(Protocol):
    """Finds and probes nodes: ``gpunode._session.Session``."""

    async def choices(self, demand: Demand, *, anew: bool = False) -> list[Choice]:
        """Return whom a job would ask now; anew: also if nodes are known from before; raises ``NoNodeFound``."""
        ...


async def find_nodes(
    source: NodeSource,
    demand: Demand,
    regions: Sequence[Region | None],
    client: Region | None,
    *,
    anew: bool = False,
) -> list[Choice]:
    """Return the nodes to ask for a job, the preferred first, at least one.

    Args:
        demand: what the job asks for; its region is replaced by those of ``regions``.
        regions: to look in, one after the other until there are enough.
        client: see ``preference``.
        anew: search for nodes, also if some are known from before.

    Raises:
        NoNodeFound: nobody serves it. ClientError: the network is not reachable.
    """
    found: list[Choice] = []
    nobody = NoNodeFound("No live node can do this job now.")
    for region in regions:
        try:
            found += await source.choices(replace(demand, region=region), anew=anew)
        except NoNodeFound as error:
            nobody = error
        if len(found) >= ENOUGH and any(is_free(choice) for choice in found):
            break
    if not found:
        raise nobody
    return preferred(found, client)

"""How far from a job's client the nearest mesh node is that has room for it, as far as is known. Pure."""

from collections.abc import Callable, Collection, Iterable
from typing import Final

from gpunode._selection import Choice
from gpunode_protocol.regions import Region

from gpunode_tracker.dispatch.preference import is_free
from gpunode_tracker.storage.queue_heads import Head
from gpunode_tracker.workers.selection import Wanted

KNOWN_FOR_S: Final = 2.0
"""What nodes said of their room counts for so long; before that, a node that lives is taken to have some."""


class NearestRoom:
    """Remembers what the last looks for nodes found.

    Args:
        live_regions: returns those with live nodes for the jobs of a lane.
    """

    def __init__(self, live_regions: Callable[[str], Collection[Region]]) -> None:
        self._live_regions = live_regions
        self._looks: dict[str, tuple[float, frozenset[Region]]] = {}

    def note(self, head: Head, found: Iterable[Choice], now: float) -> int | None:
        """Note which nodes could be asked for a job; return how far the nearest with room is, None: none has.

        Args:
            head: the job.
            found: nodes, of whom those that are free have room.
            now: monotonic seconds.
        """
        regions = frozenset(choice.candidate.body.region for choice in found if is_free(choice))
        self._looks[head.lane] = now, regions
        return _nearest_km(head, regions)

    def way_km(self, head: Head, now: float) -> int | None:
        """Return how far the nearest node is that may have room for a job, None if there is none."""
        looked_at, regions = self._looks.get(head.lane, (float("-inf"), frozenset[Region]()))
        return _nearest_km(head, regions if now - looked_at < KNOWN_FOR_S else self._live_regions(head.lane))

    def forget_old(self, now: float) -> None:
        """Forget what was found too long ago."""
        self._looks = {lane: look for lane, look in self._looks.items() if now - look[0] < KNOWN_FOR_S}


def _nearest_km(head: Head, regions: Iterable[Region]) -> int | None:
    wanted = Wanted.of_lane(head.lane, head.client_region)
    return min((wanted.way_km(region) for region in regions), default=None)

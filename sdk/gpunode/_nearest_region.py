"""The client's region by its own measurements, pure; docs/routing.md explains the rule."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Final

from gpunode_protocol.geography import KM_PER_RTT_MS, REFERENCE_POINTS, distance_km
from gpunode_protocol.regions import Region

from gpunode._selection import TIE_MS

MIN_NODES: Final = 3
"""So many nodes must say that they are in a region: of three, one liar is never the one in the middle."""
MAX_HOME_RTT_MS: Final = (
    min(distance_km(here, there) for here, there in combinations(REFERENCE_POINTS.values(), 2)) / KM_PER_RTT_MS
)
"""As long as light takes between the two closest regions (63 ms): a client farther away may as well be in another."""


def nearest_region(rtts_ms: Mapping[Region, Sequence[float]], present: Region | None = None) -> Region | None:
    """Return the region that a client is in, None if its measurements do not tell.

    Args:
        rtts_ms: round trips by the region that nodes claim, one a node, in any order.
        present: the region that was told before; it stays while too few nodes were measured to tell another, and
            unless another is nearer by more than the jitter of a home connection.
    """
    told_ms = {region: region_rtt_ms(measured) for region, measured in rtts_ms.items() if len(measured) >= MIN_NODES}
    near_ms = {region: rtt_ms for region, rtt_ms in told_ms.items() if rtt_ms <= MAX_HOME_RTT_MS}
    if not near_ms:
        return None if present in told_ms else present
    nearest = min(near_ms, key=lambda region: near_ms[region])
    if present in near_ms and near_ms[present] <= near_ms[nearest] + TIE_MS:
        return present
    return nearest


def region_rtt_ms(measured: Sequence[float]) -> float:
    """Return the median of the three nearest nodes: a large region is not far because of its other end."""
    return median(sorted(measured)[:MIN_NODES])

"""Whether what a node says of its place can be true, given a measured round trip. Pure.

Delay can be added, never taken away: a long round trip proves nothing, a short one proves that two are near.
"""

from dataclasses import dataclass
from typing import Final

from gpunode_protocol.geography import KM_PER_RTT_MS, Position, distance_km
from gpunode_protocol.region_outlines import distance_to_region_km
from gpunode_protocol.regions import Region

MARGIN_KM: Final = 500
"""What a claim may be too far away by: radio links are faster than fibre, and clocks and databases are not exact.

It is more than the 412 km that ``KM_PER_RTT_MS`` rounds off at most.
"""
ROUNDING_KM: Final = 80
"""Whole degrees put a place at most 78.6 km off: half a degree each way at the equator."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Where a node says that it is. position: None where it names only the region."""

    region: Region
    position: Position | None = None

    def least_distance_km(self, observer: Position) -> int:
        """Return how far the claimed place is at least from an observer's stated one, 0 to 20,015 km."""
        to_region_km = distance_to_region_km(self.region, observer) - ROUNDING_KM
        to_position_km = 0 if self.position is None else distance_km(self.position, observer) - 2 * ROUNDING_KM
        return max(0, to_region_km, to_position_km)


def contradicts(claim: Claim, observer: Position, rtt_ms: int, *, allowance_km: int = 0) -> bool:
    """Return whether a claim is too far away for the round trip that an observer measured.

    Args:
        claim: of the node that answered.
        observer: where the one who measured says that it is.
        rtt_ms: of a probe, rounded up.
        allowance_km: what both stated places may be off beyond the rounding, such as the radii that GeoIP tells.
    """
    return claim.least_distance_km(observer) > KM_PER_RTT_MS * rtt_ms + MARGIN_KM + allowance_km

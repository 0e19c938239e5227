"""Places on the Earth in whole degrees, never finer, and how far they are apart. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt
from types import MappingProxyType
from typing import Final, Self

from gpunode_protocol.regions import Region

EARTH_RADIUS_KM: Final = 6371.0088
"""The mean radius of WGS 84; with a sphere, distances are off by at most 0.6 %."""

KM_PER_RTT_MS: Final = 100
"""How far away an answer through fibre can come from, for each millisecond of round trip.

Light in fibre makes 299,792 km/s / 1.468 = 204 km per ms (group index of Corning SMF-28 at 1,550 nm: 1.4682), there and
back 102 km per ms. What this rounds off is 412 km at half the Earth's circumference.
"""


@dataclass(frozen=True, slots=True)
class Position:
    """Whole degrees: latitude from -90 (south) to 90, longitude from -180 (west) to 180."""

    latitude: int
    longitude: int

    @classmethod
    def rounded(cls, latitude: float, longitude: float) -> Self:
        """Return the nearest position in whole degrees: at most about 80 km off, so that no home is found by it."""
        return cls(round(latitude), round(longitude))


REFERENCE_POINTS: Final[Mapping[Region, Position]] = MappingProxyType(
    {
        Region.ASIA: Position(1, 104),  # Singapore
        Region.EUROPE: Position(50, 9),  # Frankfurt am Main
        Region.AMERICA: Position(39, -77),  # Ashburn, Virginia
        Region.AFRICA: Position(-26, 28),  # Johannesburg
        Region.OCEANIA: Position(-34, 151),  # Sydney
    }
)
"""The point of each region that distances are told from: by convention a city where its networks meet.

Not the middle of the land, which is far from most nodes, and not where the nodes are.
"""


def distance_km(here: Position, there: Position) -> int:
    """Return the distance along the surface in whole kilometres, 0 to 20,015 (haversine)."""
    south, north = radians(here.latitude), radians(there.latitude)
    east = radians(there.longitude - here.longitude)
    chord = sin((north - south) / 2) ** 2 + cos(south) * cos(north) * sin(east / 2) ** 2
    return round(2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(chord))))


def distances_km(here: Position) -> dict[str, int]:
    """Return the distance to each region's reference point in whole kilometres, by the region's name."""
    return {str(region): distance_km(here, point) for region, point in REFERENCE_POINTS.items()}

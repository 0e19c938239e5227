"""How far the regions reach, for judging who says that he is in one. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gpunode_protocol.geography import Position, distance_km
from gpunode_protocol.regions import Region


@dataclass(frozen=True, slots=True)
class Disc:
    """All places at most so many kilometres from a centre."""

    centre: Position
    radius_km: int


REGION_DISCS: Final[Mapping[Region, tuple[Disc, ...]]] = MappingProxyType(
    {
        Region.ASIA: (
            Disc(Position(25, 101), 1_800),
            Disc(Position(25, 69), 1_750),
            Disc(Position(33, 41), 1_700),
            Disc(Position(5, 112), 1_900),
            Disc(Position(44, 115), 1_500),
            Disc(Position(48, 74), 1_750),
            Disc(Position(0, 85), 1_950),
            Disc(Position(-5, 127), 1_600),
            Disc(Position(34, 131), 1_700),
            Disc(Position(15, 48), 1_450),
        ),
        Region.EUROPE: (
            Disc(Position(59, 82), 1_850),
            Disc(Position(51, -16), 1_750),
            Disc(Position(59, 134), 1_900),
            Disc(Position(56, 35), 1_850),
            Disc(Position(38, -10), 1_650),
            Disc(Position(41, 20), 1_700),
            Disc(Position(75, 1), 1_700),
            Disc(Position(60, 165), 1_200),
        ),
        Region.AMERICA: (
            Disc(Position(42, -106), 1_700),
            Disc(Position(-18, -53), 1_800),
            Disc(Position(11, -76), 1_850),
            Disc(Position(50, -74), 1_600),
            Disc(Position(58, -141), 1_750),
            Disc(Position(-23, -63), 1_550),
            Disc(Position(25, -102), 1_700),
            Disc(Position(1, -48), 1_850),
            Disc(Position(68, -86), 1_800),
            Disc(Position(-45, -66), 1_500),
            Disc(Position(23, -161), 750),
            Disc(Position(-4, -80), 1_650),
            Disc(Position(40, -124), 1_550),
            Disc(Position(52, -174), 1_550),
            Disc(Position(29, -80), 1_550),
        ),
        Region.AFRICA: (
            Disc(Position(21, 0), 1_750),
            Disc(Position(-14, 26), 1_850),
            Disc(Position(13, 30), 1_850),
            Disc(Position(-26, 33), 1_800),
            Disc(Position(11, -2), 1_700),
            Disc(Position(35, 16), 1_750),
            Disc(Position(-5, 55), 1_950),
            Disc(Position(16, -24), 1_350),
            Disc(Position(-37, -12), 50),
            Disc(Position(-5, 4), 1_750),
        ),
        Region.OCEANIA: (
            Disc(Position(-33, 157), 1_800),
            Disc(Position(-23, 130), 1_950),
            Disc(Position(-11, 174), 1_700),
            Disc(Position(1, 146), 1_700),
            Disc(Position(-11, -156), 1_750),
            Disc(Position(-44, 176), 1_050),
            Disc(Position(-23, -139), 1_600),
            Disc(Position(8, 178), 1_800),
        ),
    }
)
"""Discs of at most 2,000 km that hold every location that GeoLite2 City of July 2018 has on a region's continents.

Those at 0, 0 are left out, which stand for an unknown place. The continents are GeoLite2's: all of Russia is Europe,
all of Turkey is Asia, Hawaii and Greenland are America. So a region is drawn larger than it is, never smaller.
"""


def distance_to_region_km(region: Region, position: Position) -> int:
    """Return how far the nearest place of a region is at least, 0 to about 14,000 km; 0 within its discs."""
    return min(max(0, distance_km(position, disc.centre) - disc.radius_km) for disc in REGION_DISCS[region])

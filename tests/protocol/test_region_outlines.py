"""How far the regions reach."""

import pytest
from gpunode_protocol.geography import REFERENCE_POINTS, Position
from gpunode_protocol.region_outlines import REGION_DISCS, distance_to_region_km
from gpunode_protocol.regions import Region

HONOLULU, HANGA_ROA, NUUK = Position(21, -158), Position(-27, -109), Position(64, -52)
VLADIVOSTOK, LAS_PALMAS, REYKJAVIK, LONGYEARBYEN = (Position(*at) for at in ((43, 132), (28, -15), (64, -22), (78, 16)))
IZMIR, SAPPORO, JAYAPURA, ALMATY = Position(38, 27), Position(43, 141), Position(-3, 141), Position(43, 77)
TUNIS, CAPE_TOWN, PRAIA, PORT_LOUIS = Position(37, 10), Position(-34, 18), Position(15, -24), Position(-20, 58)
PERTH, PAPEETE, DUNEDIN, GUAM = Position(-32, 116), Position(-18, -150), Position(-46, 171), Position(13, 145)


def test_every_region_is_drawn() -> None:
    """Its reference point lies within."""
    assert list(REGION_DISCS) == list(Region)
    assert {distance_to_region_km(region, point) for region, point in REFERENCE_POINTS.items()} == {0}


@pytest.mark.parametrize(
    ("region", "places"),
    [
        (Region.EUROPE, (VLADIVOSTOK, LAS_PALMAS, REYKJAVIK, LONGYEARBYEN)),
        (Region.ASIA, (IZMIR, SAPPORO, JAYAPURA, ALMATY)),
        (Region.AMERICA, (HONOLULU, NUUK, Position(-55, -68), Position(71, -157))),
        (Region.AFRICA, (TUNIS, CAPE_TOWN, PRAIA, PORT_LOUIS)),
        (Region.OCEANIA, (PERTH, PAPEETE, DUNEDIN, GUAM)),
    ],
)
def test_the_far_ends_belong_to_it(region: Region, places: tuple[Position, ...]) -> None:
    """Whoever is there may say so."""
    assert [distance_to_region_km(region, place) for place in places] == [0] * len(places)


def test_other_continents_are_far() -> None:
    """A node in Tokyo cannot pass for one in America, nor one in Frankfurt for one in Oceania."""
    assert distance_to_region_km(Region.AMERICA, Position(36, 140)) > 2_000
    assert distance_to_region_km(Region.OCEANIA, REFERENCE_POINTS[Region.EUROPE]) > 9_000
    assert distance_to_region_km(Region.EUROPE, REFERENCE_POINTS[Region.AMERICA]) > 3_000

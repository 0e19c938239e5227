"""What a round trip proves of a place."""

from math import asin, ceil, cos, radians, sin, sqrt

import pytest
from gpunode_protocol.geography import EARTH_RADIUS_KM, REFERENCE_POINTS, Position
from gpunode_protocol.physics import MARGIN_KM, Claim, contradicts
from gpunode_protocol.region_outlines import REGION_DISCS, distance_to_region_km
from gpunode_protocol.regions import Region
from hypothesis import example, given
from hypothesis import strategies as st

TOKYO, FRANKFURT, SYDNEY = Position(36, 140), Position(50, 9), Position(-34, 151)
LIGHT_KM_PER_MS = 299.792458
FIBRE_INDEX = 1.468

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


def _exact_km(here: tuple[float, float], there: tuple[float, float]) -> float:
    south, north = radians(here[0]), radians(there[0])
    east = radians(there[1] - here[1])
    chord = sin((north - south) / 2) ** 2 + cos(south) * cos(north) * sin(east / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(chord)))


@given(latitudes, longitudes, latitudes, longitudes, st.floats(0, 500))
@example(50.499, 9.499, -43.5, 178.51, 0.0)
def test_honest_places_are_never_contradicted(
    latitude: float, longitude: float, observer_lat: float, observer_lon: float, delay_ms: float
) -> None:
    """However straight the fibre is, and whatever delay is added: light cannot be outrun."""
    claimed = Position.rounded(latitude, longitude)
    regions = [region for region in Region if distance_to_region_km(region, claimed) == 0]
    distance_km = _exact_km((latitude, longitude), (observer_lat, observer_lon))
    rtt_ms = ceil(2 * distance_km / (LIGHT_KM_PER_MS / FIBRE_INDEX) + delay_ms)
    observer = Position.rounded(observer_lat, observer_lon)
    assert not any(contradicts(Claim(region, claimed), observer, rtt_ms) for region in regions)
    assert not any(contradicts(Claim(region), observer, rtt_ms) for region in regions)


@given(latitudes, longitudes, latitudes, longitudes, st.integers(0, 1_000))
def test_a_longer_round_trip_proves_less(
    latitude: float, longitude: float, observer_lat: float, observer_lon: float, rtt_ms: int
) -> None:
    """What one millisecond more contradicts, one less contradicts too."""
    claim = Claim(Region.ASIA, Position.rounded(latitude, longitude))
    observer = Position.rounded(observer_lat, observer_lon)
    if contradicts(claim, observer, rtt_ms + 1):
        assert contradicts(claim, observer, rtt_ms)


@pytest.mark.parametrize(("rtt_ms", "is_lie"), [(2, True), (80, True), (86, True), (87, False), (240, False)])
def test_a_node_in_frankfurt_that_says_tokyo(rtt_ms: int, is_lie: bool) -> None:
    """9,311 km less 160 km of rounding and the margin: 86 ms are too short for that, 87 ms are not."""
    assert contradicts(Claim(Region.ASIA, TOKYO), FRANKFURT, rtt_ms) is is_lie


def test_the_radius_of_geoip_is_allowed_for() -> None:
    """A database that knows no more than the country is not a lie of the node's."""
    madrid, rome = Position(40, -4), Position(42, 12)
    assert contradicts(Claim(Region.EUROPE, madrid), rome, 6)
    assert not contradicts(Claim(Region.EUROPE, madrid), rome, 6, allowance_km=200)


def test_a_region_without_coordinates_is_judged_too() -> None:
    """Not by its reference point: all of it is allowed for."""
    assert contradicts(Claim(Region.OCEANIA), FRANKFURT, 5)
    assert not contradicts(Claim(Region.ASIA), Position(38, 27), 1)  # Izmir, 8,000 km from Singapore


def test_region_and_coordinates_must_both_be_possible() -> None:
    """True coordinates do not help a node that names another region."""
    assert contradicts(Claim(Region.OCEANIA, FRANKFURT), FRANKFURT, 5)
    assert not contradicts(Claim(Region.EUROPE, FRANKFURT), FRANKFURT, 5)


def test_the_margin_is_beyond_the_rounding() -> None:
    """Two places in whole degrees count as near as they may be."""
    north = Position(10, 0)
    assert Claim(Region.AFRICA, north).least_distance_km(Position(0, 0)) == 1_112 - 160
    assert Claim(Region.AFRICA, north).least_distance_km(north) == 0
    assert MARGIN_KM == 500


def test_observers_elsewhere_prove_nothing() -> None:
    """From Sydney, Frankfurt's round trip would be possible for a node in Tokyo as well."""
    assert not contradicts(Claim(Region.ASIA, TOKYO), SYDNEY, 250)
    assert len(REFERENCE_POINTS) == len(REGION_DISCS)

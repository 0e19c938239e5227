"""Positions in whole degrees and the distances between them."""

import pytest
from gpunode_protocol.geography import REFERENCE_POINTS, Position, distance_km, distances_km
from gpunode_protocol.regions import Region

LONDON = Position(52, 0)
TOKYO = Position(36, 140)


def test_positions_are_whole_degrees() -> None:
    """Nothing finer is kept, on either side of zero."""
    assert Position.rounded(37.751, -97.822) == Position(38, -98)
    assert Position.rounded(-0.4, 179.6) == Position(0, 180)


@pytest.mark.parametrize(
    ("here", "there", "km"),
    [
        (LONDON, LONDON, 0),
        (Position(0, 0), Position(90, 0), 10_008),
        (Position(0, 0), Position(0, 180), 20_015),
        (Position(40, -100), Position(-40, 80), 20_015),
        (Position(0, 179), Position(0, -179), 222),
        (Position(90, 0), Position(90, 120), 0),
    ],
)
def test_distances_that_geometry_gives(here: Position, there: Position, km: int) -> None:
    """A quarter and half of a great circle, across the date line, and all meridians meet at the pole."""
    assert distance_km(here, there) == distance_km(there, here) == km


def test_a_distance_between_cities() -> None:
    """London and Tokyo are 9,560 km apart; whole degrees move each end by at most 80 km."""
    assert distance_km(LONDON, TOKYO) == pytest.approx(9_560, abs=160)


def test_every_region_has_a_reference_point() -> None:
    """From its own it is 0 km; from each the others are told, alike in both directions."""
    assert list(REFERENCE_POINTS) == list(Region)
    table = {str(region): distances_km(point) for region, point in REFERENCE_POINTS.items()}
    assert all(table[here][there] == table[there][here] for here in table for there in table)
    assert {(here, there) for here in table for there in table[here] if table[here][there] == 0} == {
        (region, region) for region in table
    }

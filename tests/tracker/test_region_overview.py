"""The answer about regions: what is known of the caller, and what is not."""

import pytest
from gpunode_protocol.geography import Position
from gpunode_protocol.regions import Region
from gpunode_tracker.geoip import Place, Unplaced
from gpunode_tracker.region_overview import regions_reply


def test_a_caller_whose_place_is_known() -> None:
    """In whole degrees, with the distance to each region's reference point."""
    place = Place(region=Region.EUROPE, country="DE", position=Position(50, 9), accuracy_km=100)
    answer = regions_reply((), place, 5)
    assert answer.caller is not None
    assert (answer.caller.latitude, answer.caller.longitude, answer.caller.accuracy_km) == (50, 9, 100)
    assert answer.caller.distances_km["europe"] == 0
    assert set(answer.caller.distances_km) == set(Region)
    assert (answer.caller_unknown, answer.geoip_built_at) == (None, 5)


def test_a_caller_whose_country_is_known() -> None:
    """Without coordinates no distance is told."""
    answer = regions_reply((), Place(region=Region.ASIA, country="SG", position=None, accuracy_km=None), 5)
    assert answer.caller is not None
    assert (answer.caller.country, answer.caller.latitude, answer.caller.distances_km) == ("SG", None, {})


@pytest.mark.parametrize("why", list(Unplaced))
def test_a_caller_of_whom_nothing_is_known(why: Unplaced) -> None:
    """The answer says why, and names no place."""
    answer = regions_reply((), why, None)
    assert (answer.caller, answer.caller_unknown, answer.geoip_built_at) == (None, why.value, None)

from gpunode._home import NOWHERE, Home
from gpunode._region_facts import network_regions
from gpunode.regions import CallerInfo
from gpunode_protocol.geography import Position, distances_km
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import CallerPlace

from tests.sdk.world import MODEL, regions_reply

PARIS = Position(49, 2)


def test_what_the_tracker_counts_and_what_the_client_measured() -> None:
    """Distances are from the caller; the round trip is that to the nearest node."""
    place = CallerPlace(
        region=Region.EUROPE,
        country="FR",
        latitude=PARIS.latitude,
        longitude=PARIS.longitude,
        accuracy_km=20,
        distances_km=distances_km(PARIS),
    )
    told = network_regions(
        regions_reply(place, europe=3), Home(Region.EUROPE, "geoip"), {Region.EUROPE: [30, 12], Region.ASIA: [200]}
    )
    by_name = {item.region: item for item in told.regions}
    assert list(by_name) == list(Region)
    assert (told.home, told.home_from, told.caller_unknown) == ("europe", "geoip", None)
    assert told.caller == CallerInfo(region="europe", country="FR", latitude=49, longitude=2, accuracy_km=20)
    here, there, nowhere = by_name["europe"], by_name["asia"], by_name["africa"]
    assert (here.nodes, here.models, here.rtt_ms, here.measured_nodes) == (3, {MODEL: 3}, 12, 2)
    assert (there.nodes, there.models, there.rtt_ms, there.measured_nodes) == (0, {}, 200, 1)
    assert (nowhere.rtt_ms, nowhere.measured_nodes) == (None, 0)
    assert here.distance_km == distances_km(PARIS)["europe"] < 600
    assert here.distances_km["asia"] > 9_000


def test_an_address_that_tells_nothing() -> None:
    """Nothing is made up, and the reason is told."""
    told = network_regions(regions_reply(), NOWHERE, {})
    assert (told.home, told.home_from, told.caller, told.caller_unknown) == (None, None, None, "no_database")
    assert {item.distance_km for item in told.regions} == {None}

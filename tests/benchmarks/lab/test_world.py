import ipaddress
import tomllib
from itertools import combinations
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import Any

import pytest
from gpunode_benchmarks.lab.errors import WorldInvalid
from gpunode_benchmarks.lab.world import NETWORK, World, find_world, load_world
from gpunode_protocol.geography import KM_PER_RTT_MS
from gpunode_protocol.regions import Region

EARTH_RADIUS_KM = 6_371

GOOD = """
about = "two cities"
jitter_ms = 4
loss = 0.01

[places]
london = { region = "europe", country = "GB", latitude = 52, longitude = 0 }
tokyo = { region = "asia", country = "JP", latitude = 36, longitude = 140 }

[hosts]
london-1 = { place = "london" }
london-2 = { place = "london", access_rtt_ms = 6 }
tokyo-1 = { place = "tokyo" }

[rtt_ms]
tokyo = { london = 220 }

[[paths]]
between = ["london", "tokyo"]
jitter_ms = 10
"""


def _write(folder: Path, text: str, name: str = "cities.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The two cities."""
    return load_world(_write(tmp_path, GOOD))


@pytest.mark.parametrize(
    ("first", "second", "expected_ms"),
    [
        ("london-1", "tokyo-1", 220),
        ("tokyo-1", "london-1", 220),
        ("london-2", "tokyo-1", 226),
        ("london-1", "london-2", 7),
    ],
)
def test_round_trips_are_the_places_and_both_lines(world: World, first: str, second: str, expected_ms: float) -> None:
    """The order in which a pair stands in the file does not matter."""
    assert world.round_trip_ms(first, second) == expected_ms


def test_one_way_is_half_of_the_round_trip(world: World) -> None:
    """Delay and jitter are halved; loss is of one direction already; an exception replaces only what it names."""
    there = world.one_way("london-1", "tokyo-1")
    assert (there.delay_s, there.jitter_s, there.loss) == (0.110, 0.005, 0.01)
    assert world.one_way("london-1", "london-2").jitter_s == 0.002


def test_addresses_differ_and_libp2p_takes_them_for_routable(world: World) -> None:
    """Each region and place has a network of its own within the lab's."""
    addresses = [ipaddress.ip_address(world.address_of(host)) for host in world.hosts]
    assert [str(address) for address in addresses] == ["11.2.1.1", "11.2.1.2", "11.1.2.1"]
    assert all(address in NETWORK and address.is_global for address in addresses)


def test_hosts_are_listed_by_region(world: World) -> None:
    """A bench picks its clients so."""
    assert world.hosts_in(Region.EUROPE) == ("london-1", "london-2")
    assert world.hosts_in(Region.AFRICA) == ()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("[rtt_ms]\ntokyo = { london = 220 }", "", "rtt_ms.london.tokyo is missing"),
        ("london = 220", "london = 220, oslo = 3", "rtt_ms.tokyo.oslo names 'oslo', which is not among the places"),
        ("london = 220", "london = 220, tokyo = 3", "rtt_ms.tokyo.tokyo is within one place: set local_rtt_ms"),
        ("[[paths]]", "london = { tokyo = 3 }\n[[paths]]", "rtt_ms.london.tokyo is given twice"),
        ("london = 220", "london = -1", "rtt_ms.tokyo.london: Input should be greater than or equal to 0"),
        ('"tokyo" }\n\n', '"kyoto" }\n\n', "hosts.tokyo-1 is at 'kyoto', which is not among the places"),
        ("loss = 0.01", "loss = 1", "loss: Input should be less than 1"),
        ("loss = 0.01", "los = 0.01", "los: Extra inputs are not permitted"),
        ('"asia"', '"antarctica"', "places.tokyo.region: Input should be 'asia', 'europe'"),
        ("london-1 =", '"London 1" =', "hosts.London 1: String should match pattern"),
        ('["london", "tokyo"]', '["london", "oslo"]', "paths: london and oslo: 'oslo' is not among the places"),
        ('about = "two cities"', "", "about: Field required"),
        ("[hosts]", "[hosts", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, before: str, after: str, said: str) -> None:
    """The message names the file, the entry, and what is wrong with it."""
    assert before in GOOD
    path = _write(tmp_path, GOOD.replace(before, after))
    with pytest.raises(WorldInvalid) as caught:
        load_world(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    """Each on a line of its own."""
    path = _write(tmp_path, GOOD.replace("london = 220", "oslo = 220"))
    with pytest.raises(WorldInvalid) as caught:
        load_world(path)
    assert [line for line in str(caught.value).splitlines() if line.startswith("  ")] == [
        "  rtt_ms.tokyo.oslo names 'oslo', which is not among the places",
        "  rtt_ms.london.tokyo is missing",
    ]


@pytest.mark.parametrize("name", ["Two Cities.toml", "two.cities.toml", f"{'a' * 25}.toml"])
def test_a_file_is_named_like_its_lab(tmp_path: Path, name: str) -> None:
    """The name becomes part of paths of sockets."""
    with pytest.raises(WorldInvalid, match="cannot name a world"):
        load_world(_write(tmp_path, GOOD, name))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The system's reason is given."""
    with pytest.raises(WorldInvalid, match="cannot be read"):
        load_world(tmp_path / "none.toml")


def test_an_unknown_name_gets_the_list_of_those_that_ship() -> None:
    """A name without .toml is one of a shipped world."""
    with pytest.raises(WorldInvalid, match="There is no world 'nowhere'"):
        find_world("nowhere")


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    """Own worlds are files."""
    assert find_world(str(tmp_path / "own.toml")) == tmp_path / "own.toml"


def test_the_example_is_what_the_tests_say() -> None:
    """A world survives being handed to the lab's process as JSON."""
    content: dict[str, Any] = tomllib.loads(GOOD)
    world = World.model_validate(content)
    assert World.model_validate_json(world.model_dump_json()) == world


SHIPPED = find_world("clouds")


def test_the_shipped_world_has_twelve_hosts_in_three_regions() -> None:
    """Four in each."""
    world = load_world(SHIPPED)
    assert [len(world.hosts_in(region)) for region in (Region.ASIA, Region.EUROPE, Region.AMERICA)] == [4, 4, 4]
    assert len(world.hosts) == 12


def test_the_shipped_world_says_that_it_is_assumed() -> None:
    """Nobody may take its figures for measurements."""
    assert "ASSUMPTION" in load_world(SHIPPED).about


def test_nothing_in_the_shipped_world_is_faster_than_light_in_fibre() -> None:
    """About 100 km for each millisecond of a round trip, along the shortest line on a globe."""
    world = load_world(SHIPPED)
    too_fast = {
        (first, second): world.round_trip_ms(first, second)
        for first, second in combinations(world.hosts, 2)
        if world.round_trip_ms(first, second) < _distance_km(world, first, second) / KM_PER_RTT_MS
    }
    assert too_fast == {}


def _distance_km(world: World, *hosts: str) -> float:
    """Return the great-circle distance by the haversine formula."""
    places = [world.place_of(host) for host in hosts]
    [(south, west), (north, east)] = [(radians(place.latitude), radians(place.longitude)) for place in places]
    half = sin((north - south) / 2) ** 2 + cos(south) * cos(north) * sin((east - west) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(sqrt(half))

import json
from typing import Any

import pytest
from gpunode import cli_regions
from gpunode.cli import main
from gpunode.client import InferenceClient
from gpunode_protocol.geography import Position, distances_km
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import CallerPlace, RegionsReply

from tests.sdk.world import MODEL, World, regions_reply

BUENOS_AIRES = Position(-35, -58)
PLACE = CallerPlace(
    region=Region.AMERICA,
    country="AR",
    latitude=BUENOS_AIRES.latitude,
    longitude=BUENOS_AIRES.longitude,
    accuracy_km=1_000,
    distances_km=distances_km(BUENOS_AIRES),
)


@pytest.fixture(autouse=True)
def _client_of_the_world(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command talks to the network in memory, with 80 columns."""

    def open_client(*_: object, region: str | None, **__: object) -> InferenceClient:
        return InferenceClient.from_config(world.config(region=region), world.surroundings())

    monkeypatch.setattr(cli_regions, "open_client", open_client)
    monkeypatch.setenv("COLUMNS", "80")


def test_the_table_fits_80_columns(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Long names of models are broken, nothing is cut; below stands where you are."""
    long = "a-model-with-a-very-long-name-" + 50 * "x" + "-0.5b"
    reply = regions_reply(PLACE, asia=1, europe=2)
    crowded = reply.regions[1].model_copy(update={"models": {MODEL: 2, long: 1, "tiny": 2}})
    world.tracker.places = reply.model_copy(update={"regions": (reply.regions[0], crowded, *reply.regions[2:])})
    assert main(["regions"]) == 0
    out = capsys.readouterr().out
    table, below = out.splitlines()[:-1], out.splitlines()[-1]
    assert max(map(len, table)) <= 80
    assert table[0].strip() == "3 nodes"
    assert "…" not in out
    assert f"{MODEL} (2), tiny (2)" in out
    cells = [line.split("│")[3].strip() for line in table if line.count("│") == 6]
    assert f"{long} (1)" in " ".join(cells).replace("x ", "x")
    america = next(line for line in table if "america" in line)
    assert f"{distances_km(BUENOS_AIRES)['america']:,} km" in america
    assert below == (
        "Your region: america, by your address. By the tracker's GeoIP database you are near 35° S, 58° W (AR), within "
        "1,000 km."
    )


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (regions_reply(), "no GeoIP database"),
        (regions_reply().model_copy(update={"caller_unknown": "not_in_database"}), "does not know your address"),
        (regions_reply().model_copy(update={"caller_unknown": "no_public_address"}), "private address"),
        (regions_reply(CallerPlace(country="FR")), "no more"),
    ],
)
def test_a_distance_that_is_not_known_says_why(
    world: World, capsys: pytest.CaptureFixture[str], reply: RegionsReply, reason: str
) -> None:
    """And how to name the region."""
    world.tracker.places = reply
    assert main(["regions"]) == 0
    out = capsys.readouterr().out
    assert " km" not in out
    below = out.splitlines()[-1]
    assert reason in below
    assert "GPUNODE_REGION" in below
    assert main(["regions", "--region", "africa"]) == 0
    assert "Your region: africa, as set. How far you are is not known" in capsys.readouterr().out


def test_json_has_all_of_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The caller's place, and for each region counts, distances and what was measured."""
    world.tracker.places = regions_reply(PLACE, asia=1)
    assert main(["regions", "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["home"], told["home_from"], told["caller_unknown"]) == ("america", "geoip", None)
    assert told["caller"]["accuracy_km"] == 1_000
    asia = next(item for item in told["regions"] if item["region"] == "asia")
    assert (asia["nodes"], asia["models"], asia["rtt_ms"]) == (1, {MODEL: 1}, None)
    assert asia["distance_km"] == distances_km(BUENOS_AIRES)["asia"]


def test_a_tracker_that_is_away(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and exit code 1; a region that there is not is refused."""
    world.tracker.down = True
    assert main(["regions"]) == 1
    assert "The tracker does not answer" in capsys.readouterr().err
    assert main(["regions", "--region", "mars"]) == 2
    assert "asia" in capsys.readouterr().err

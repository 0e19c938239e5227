import json
from typing import Any

import pytest
from gpunode import cli_route
from gpunode.cli import main
from gpunode.client import InferenceClient
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import CallerPlace

from tests.sdk.world import MODEL, World, regions_reply


@pytest.fixture(autouse=True)
def _client_of_the_world(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command talks to the network in memory."""

    def open_client(*_: object, limits: dict[str, Any], **__: object) -> InferenceClient:
        config = world.config(**{name: value for name, value in limits.items() if value is not None})
        return InferenceClient.from_config(config, world.surroundings())

    monkeypatch.setattr(cli_route, "open_client", open_client)
    monkeypatch.setenv("COLUMNS", "200")


def test_one_line_says_who_it_would_be(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The best, its expected time, and that there is more to know; no job is sent."""
    idle, busy = world.add_node(), world.add_node(active=4, queued=9)
    assert main(["route", "--model", MODEL]) == 0
    out = capsys.readouterr().out
    assert idle.peer_id in out
    assert "best of 2" in out
    assert not idle.requests
    assert not busy.requests


def test_the_table_has_every_term_that_matters_and_every_reason(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Terms that are nothing for everybody have no column."""
    world.add_node()
    busy, elsewhere = world.add_node(active=4, queued=9), world.add_node(region=Region.EUROPE)
    assert main(["route", "--explain", "--in", "asia", "--input", "100", "--output", "50"]) == 0
    out = capsys.readouterr().out
    assert "100 in and 50 out" in out
    for word in ("queue", "read", "write", "beside", "chosen: it should answer soonest", "ms slower: queue +"):
        assert word in out
    assert "failures" not in out
    assert busy.peer_id[-8:] in out
    assert elsewhere.peer_id[-8:] not in out


def test_which_region_is_taken_for_the_clients_own(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """And where that is from: below the table, and in the JSON."""
    world.add_node()
    world.tracker.places = regions_reply(CallerPlace(region=Region.EUROPE))
    assert main(["route", "--explain"]) == 0  # learns it beside its work
    assert main(["route", "--explain"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Your region: europe, by your address."
    assert main(["route", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["home"], told["home_from"]) == ("europe", "geoip")


def test_json_has_all_of_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Candidates best first, terms that add up, and the counted reasons."""
    idle, denied = world.add_node(), world.add_node()
    world.add_node(active=4, queued=9)
    assert main(["route", "--json", "--deny-node", denied.peer_id]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["chosen"] == told["candidates"][0]["node_id"] == idle.peer_id
    assert [item["chosen"] for item in told["candidates"]] == [True, False]
    for item in told["candidates"]:
        assert item["cost_ms"] == pytest.approx(sum(item["terms"].values()))
    assert told["excluded"] == {"is on the list of denied nodes": 1}


def test_a_node_that_lies_about_its_region(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told in every form, and gets no job from who does not want it."""
    liar = world.add_node()
    world.tracker.info = world.keys.network_info(doubtful_places=(liar.peer_id,))
    assert main(["route"]) == 0
    assert "in asia (doubtful by measured round trips) serves" in capsys.readouterr().out
    assert main(["route", "--explain"]) == 0
    assert "cannot be where it says: measured round trips contradict it" in " ".join(capsys.readouterr().out.split())
    assert main(["route", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["candidates"][0]["place_doubtful"] is True
    assert main(["route", "--exclude-doubtful-places"]) == 1
    assert "1 x cannot be where it says: measured round trips contradict it" in capsys.readouterr().err
    honest = world.add_node(active=4, queued=9)
    assert main(["route", "--exclude-doubtful-places", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"] == honest.peer_id


def test_demands_that_nobody_meets_are_counted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and exit code 1."""
    world.add_node()
    world.add_node(where="both")
    assert main(["route", "--min-sandbox", "3"]) == 1
    err = capsys.readouterr().err
    assert "none that may do this job" in err
    assert "2 x has sandbox level 0, 3 is required" in err


def test_80_columns_are_enough(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Less important columns give way, reasons are wrapped."""
    monkeypatch.setenv("COLUMNS", "80")
    world.add_node()
    assert main(["route", "--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "soonest" in "".join(lines)

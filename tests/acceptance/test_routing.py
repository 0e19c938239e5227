"""Which node gets a job, told by the command, and what a user may demand of nodes."""

import pytest

from tests.acceptance.network import MODEL, Network
from tests.acceptance.processes import json_of

pytestmark = pytest.mark.acceptance

STATE = "router"


@pytest.mark.full
def test_what_a_job_showed_is_known_to_the_next_command(network: Network) -> None:
    """Every node is a candidate with terms that add up; the one that did a job is reckoned with what was measured."""
    before = json_of(network.command("route", "--model", MODEL, "--json", state=STATE))
    assert {item["node_id"] for item in before["candidates"]} == {
        node.run["peer_id"] for node in network.nodes.values()
    }
    for item in before["candidates"]:
        assert item["cost_ms"] == pytest.approx(sum(item["terms"].values()), abs=0.1)
        assert item["terms"]["decode_ms"] > 0
    observed: set[str] = set()
    for _ in range(5):  # a caller without a free processor pauses in its reading, and its job then measures nothing
        network.command("chat", "Count to fifty.", "--max-tokens", "40", "--in", "europe", "--json", state=STATE)
        after = json_of(network.command("route", "--model", MODEL, "--json", state=STATE))
        observed = {item["region"] for item in after["candidates"] if item["speed_from"] == "observed"}
        if observed:
            break
    assert observed == {"europe"}


def test_regions_are_counted_and_the_own_one_is_told(network: Network) -> None:
    """On loopback no address tells where the client is, which the command says; a region that is set counts."""
    told = json_of(network.command("regions", "--json", state=STATE))
    counted = {item["region"]: item for item in told["regions"]}
    assert {name for name, item in counted.items() if item["models"].get(MODEL)} >= set(network.nodes)
    assert (told["home"], told["caller"], told["caller_unknown"]) == (None, None, "no_public_address")
    route = json_of(network.command("route", "--model", MODEL, "--region", "europe", "--json", state=STATE))
    assert (route["home"], route["home_from"]) == ("europe", "setting")
    measured = json_of(network.command("regions", "--json", state=STATE))["regions"]
    assert {item["region"] for item in measured if item["rtt_ms"] is not None} >= set(network.nodes)
    table = network.command("regions", state=STATE, COLUMNS="80").stdout
    assert "private address" in table
    assert max(map(len, table.splitlines()[:-1])) <= 80


def test_the_table_says_why(network: Network) -> None:
    """One chosen, and for the others a reason."""
    result = network.command("route", "--model", MODEL, "--explain", state=STATE, COLUMNS="160")
    assert result.returncode == 0
    assert result.stdout.count("chosen: it should answer soonest") == 1
    for node in network.nodes.values():
        assert node.run["peer_id"][-8:] in result.stdout


def test_demands_are_met_or_counted(network: Network) -> None:
    """A denied node gets no job; what nobody meets ends with the reasons."""
    wanted = network.nodes["america"].run["peer_id"]
    others = [
        option for region in ("asia", "europe") for option in ("--deny-node", network.nodes[region].run["peer_id"])
    ]
    answer = json_of(network.command("chat", "Hello", "--max-tokens", "4", "--json", *others, state=STATE))
    assert answer["route"]["node_id"] == wanted
    refused = network.command("chat", "Hello", "--allow-node", wanted, "--fingerprint", "0" * 64, state=STATE)
    assert refused.returncode == 1
    assert "2 x is not on the list of allowed nodes" in refused.stderr
    assert "1 x has another fingerprint" in refused.stderr
    dear = network.command("chat", "Hello", "--max-price", "0.000001", state=STATE)
    assert "3 x may cost" in dear.stderr

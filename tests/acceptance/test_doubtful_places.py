"""Real nodes find out one that lies about its region, by what they measure themselves."""

from contextlib import ExitStack

import pytest

from tests.acceptance.network import MODEL, Network, status_of
from tests.acceptance.processes import Daemon, json_of, run_gpunode, wait_until

# four more nodes, and the tracker judges every 30 s
pytestmark = [pytest.mark.acceptance, pytest.mark.full, pytest.mark.timeout(480)]

SYDNEY = ("--latitude", "-33.9", "--longitude", "151.2")
FRANKFURT = ("--latitude", "50.1", "--longitude", "8.7")
DEADLINE_S = 120.0


def _start(network: Network, stack: ExitStack, region: str, place: tuple[str, ...], name: str) -> Daemon:
    node = network.add_node(region, *place, name=name)
    stack.callback(node.stop)
    return node


def _link(network: Network, node: Daemon, name: str) -> None:
    """Link a node to a new account of its own."""
    account = network.tracker_command("create-account", name)["account"]
    key = network.tracker_command("create-key", account)["api_key"]
    options = ("--data-dir", str(node.data_dir), "--json")
    json_of(run_gpunode("link", *options, home=network.folder, GPUNODE_API_KEY=key))


def test_a_node_that_lies_about_its_region(network: Network) -> None:
    """It says Sydney and answers three others, who say Frankfurt, faster than light could from there.

    Every node here that does not say Europe lies as well; whether that comes out depends on how busy this machine is.
    """
    with ExitStack() as stack:
        liar = _start(network, stack, "oceania", SYDNEY, "liar")
        liar.wait_ready()  # it can be found when the others measure, which they do as soon as they serve
        observers = [_start(network, stack, "europe", FRANKFURT, f"observer-{number}") for number in range(3)]
        for number, observer in enumerate(observers):
            observer.wait_ready()
            _link(network, observer, f"observer {number}")
        lies = liar.run["peer_id"]
        wait_until(lambda: lies in _doubtful(network), "the verdict", DEADLINE_S)
        truthful = {node.run["peer_id"] for node in (*observers, network.nodes["europe"])}
        assert not truthful & set(_doubtful(network))
        told = json_of(network.command("route", "--model", MODEL, "--json", state="doubtful"))
        assert lies in {item["node_id"] for item in told["candidates"] if item["place_doubtful"]}
        strict = json_of(network.command("route", "--exclude-doubtful-places", "--json", state="strict"))
        assert lies not in {item["node_id"] for item in strict["candidates"]}
        assert "cannot be where it says: measured round trips contradict it" in strict["excluded"]
        wait_until(lambda: any("--latitude" in problem for problem in status_of(liar)["problems"]), "the owner is told")


def _doubtful(network: Network) -> list[str]:
    answer: list[str] = network.call("GET", "/api/v1/network")[1]["doubtful_places"]
    return answer

"""The commands of node owners and users, as they type them."""

from typing import Any

import pytest
from gpunode import InferenceClient

from tests.acceptance.network import MODEL, REGIONS, Network, is_idle
from tests.acceptance.processes import json_of, run_gpunode, wait_until

pytestmark = pytest.mark.acceptance


def _one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def _owners_command(network: Network, region: str, *arguments: str, **environment: str) -> Any:
    """Run a command of the node's owner; return the JSON object."""
    options = ("--json", "--data-dir", str(network.nodes[region].data_dir))
    return json_of(run_gpunode(*arguments, *options, home=network.folder, **environment))


def test_status(network: Network) -> None:
    """The running node says who it is, what it serves and what is wrong."""
    node = network.nodes["asia"]
    status = _owners_command(network, "asia", "status")
    assert status["peer_id"] == node.run["peer_id"]
    assert [model["name"] for model in status["models"]] == [MODEL]
    assert status["problems"] == []
    table = run_gpunode("status", "--data-dir", str(node.data_dir), home=network.folder).stdout
    assert status["peer_id"] in table
    assert MODEL in table


def test_status_without_a_node(network: Network) -> None:
    """One line says what to do."""
    result = run_gpunode("status", "--data-dir", str(network.folder / "nobody"), home=network.folder)
    assert result.returncode == 1
    assert "Start one with `gpunode start`" in _one_line(result.stderr)


def test_earnings_and_link(network: Network, client: InferenceClient) -> None:
    """What a node has earned moves to the account that it is linked to."""
    client.chat(messages=[{"role": "user", "content": "Hello"}], region="asia", max_tokens=4)
    wait_until(lambda: is_idle(network.nodes["asia"]), "the job is settled")
    earned = _owners_command(network, "asia", "earnings")
    assert earned["spendable_microcredits"] == earned["paid_microcredits"] > 0
    owner = network.tracker_command("create-account", "owner", "--credits", "0")["account"]
    key = network.tracker_command("create-key", owner)["api_key"]
    linked = _owners_command(network, "asia", "link", GPUNODE_API_KEY=key)
    assert linked == {"account": owner, "moved_microcredits": earned["spendable_microcredits"]}
    balance = json_of(network.command("ledger", "balance", "--json", GPUNODE_API_KEY=key))
    assert balance["spendable_microcredits"] == earned["spendable_microcredits"]
    assert _owners_command(network, "asia", "earnings")["account"] == owner
    own = json_of(network.command("route", "--own-nodes", "--json", GPUNODE_API_KEY=key))
    assert [item["node_id"] for item in own["candidates"]] == [network.nodes["asia"].run["peer_id"]]


def test_link_with_a_wrong_key(network: Network) -> None:
    """One line says what is wrong, without the key."""
    options = ("--data-dir", str(network.nodes["asia"].data_dir))
    result = run_gpunode("link", *options, home=network.folder, GPUNODE_API_KEY="gpk_wrong")
    assert result.returncode == 1
    assert "gpk_wrong" not in _one_line(result.stderr)


@pytest.mark.full
def test_nodes(network: Network) -> None:
    """Users see who is there, as JSON and as a table."""
    listed = json_of(network.command("nodes", "--json"))
    assert {entry["region"] for entry in listed} == set(REGIONS)
    assert {entry["node_id"] for entry in listed} == {node.run["peer_id"] for node in network.nodes.values()}
    table = network.command("nodes", "--once", COLUMNS="200").stdout
    assert all(region in table for region in REGIONS)


def test_chat(network: Network) -> None:
    """The answer goes to standard output, what is said about it to standard error."""
    result = network.command("chat", "What is the capital of France?", "--max-tokens", "16", "--temperature", "0")
    assert result.returncode == 0
    assert "Paris" in result.stdout
    assert "receipt" in result.stderr
    assert "receipt" not in result.stdout


@pytest.mark.full
def test_chat_with_a_wrong_key(network: Network) -> None:
    """One line says what to check, without the key."""
    result = network.command("chat", "Hello", state="stranger", GPUNODE_API_KEY="gpk_wrong")
    assert result.returncode == 1
    assert "API key" in _one_line(result.stderr)
    assert "gpk_wrong" not in result.stderr


@pytest.mark.full
def test_chat_without_credits(network: Network) -> None:
    """One line says how to get some."""
    account = network.tracker_command("create-account", "poor", "--credits", "0")["account"]
    key = network.tracker_command("create-key", account)["api_key"]
    result = network.command("chat", "Hello", state="poor", GPUNODE_API_KEY=key)
    assert result.returncode == 1
    assert "credits" in _one_line(result.stderr)


def test_the_state_of_a_client_is_private(network: Network) -> None:
    """Its key and its grants spend money."""
    network.command("chat", "Hello", "--max-tokens", "1")
    home = network.folder / "cli"
    private = [home / "identity.key", *home.glob("trackers/*/grants-*.json")]
    assert len(private) == 2
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}

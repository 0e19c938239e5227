"""Computers whose clock is wrong: by a little everything works, by more they are told by how much and what to do."""

import re

import pytest
from gpunode import InferenceClient

from tests.acceptance.clocks import adjustable_clock, set_clock, shifted_clock
from tests.acceptance.network import Network, status_of
from tests.acceptance.processes import Daemon, json_of, run_gpunode, wait_until

pytestmark = pytest.mark.acceptance

ASK = ("chat", "What is the capital of France?", "--max-tokens", "16", "--temperature", "0")


@pytest.mark.parametrize("offset_s", [2, -2, 5, -5])
def test_a_client_whose_clock_is_a_little_off(network: Network, offset_s: int) -> None:
    """It is served; from 3 s on it is told, with the offset and what to do."""
    result = network.command(*ASK, "--json", state=f"clock{offset_s}", **shifted_clock(offset_s))
    assert "Paris" in json_of(result)["answer"]
    direction = "ahead of" if offset_s > 0 else "behind"
    assert (f"5 s {direction} the other peers'" in result.stderr) == (abs(offset_s) == 5), result.stderr
    assert ("NTP" in result.stderr) == (abs(offset_s) == 5)


@pytest.mark.parametrize(("offset_s", "words"), [(120, "ahead of"), (-120, "behind")])
def test_a_client_whose_clock_is_far_off(network: Network, offset_s: int, words: str) -> None:
    """One line says by how much, and what to do; nothing is reserved for a job that no node would take."""
    before = json_of(network.command("ledger", "balance", "--json"))
    result = network.command(*ASK, state=f"clock{offset_s}", **shifted_clock(offset_s))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1, result.stderr
    assert f" s {words} that of the tracker at {network.url}" in result.stderr
    assert any(f"clock is {seconds} s" in result.stderr for seconds in (119, 120, 121))
    assert "timedatectl set-ntp true" in result.stderr
    after = json_of(network.command("ledger", "balance", "--json"))
    assert after["reserved_microcredits"] <= before["reserved_microcredits"]


def test_a_known_client_whose_clock_is_far_off(network: Network) -> None:
    """With network and grant from before it is told just the same, and served once its clock is set."""
    assert "Paris" in json_of(network.command(*ASK, "--json", state="clock-known"))["answer"]
    result = network.command(*ASK, state="clock-known", **shifted_clock(120))
    assert result.returncode == 1
    assert "timedatectl set-ntp true" in result.stderr.splitlines()[-1]
    assert "Paris" in json_of(network.command(*ASK, "--json", state="clock-known"))["answer"]


@pytest.mark.parametrize(("offset_s", "words"), [(120, "ahead of"), (-120, "behind")])
def test_a_node_whose_clock_is_far_off(network: Network, offset_s: int, words: str) -> None:
    """It does not start, and its last line says by how much it is off and what to do."""
    home = network.folder / f"clock-node{offset_s}"
    home.mkdir()
    options = ("--bootstrap", network.url, "--region", "africa", "--data-dir", str(home / "n"))
    result = run_gpunode("start", *options, home=home, **shifted_clock(offset_s))
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert f" s {words} the tracker's" in last
    assert "timedatectl set-ntp true" in last


def test_a_node_whose_clock_goes_wrong(network: Network, client: InferenceClient) -> None:
    """Some seconds are told, and it serves; two minutes are told; once the clock is set, all is well again."""
    file = network.folder / "africa-clock"
    set_clock(file, 5)
    node = network.add_node("africa", name="africa-clock-node", variables=adjustable_clock(file))
    try:
        node.wait_ready()
        for offset_s in (5, -5):
            set_clock(file, offset_s)
            _tells_clock(node, offset_s, "the other peers'")
            _serves(client, node)
        for offset_s in (120, -120):
            set_clock(file, offset_s)
            assert "no client accepts" in _tells_clock(node, offset_s, "the tracker's")
        set_clock(file, 2)
        wait_until(lambda: not status_of(node)["problems"], "the node has no problem any more")
        _serves(client, node)
    finally:
        node.stop()


@pytest.mark.full
@pytest.mark.parametrize("offset_s", [5, -5])
def test_a_node_whose_clock_is_a_little_off(network: Network, client: InferenceClient, offset_s: int) -> None:
    """It joins the mesh and serves; its owner is told."""
    node = network.add_node("africa", name=f"africa-clock{offset_s}", variables=shifted_clock(offset_s))
    try:
        node.wait_ready()
        _serves(client, node)
        status = status_of(node)
        assert status["mesh"]["peers_known"] > 0
        assert status["problems"] == [_tells_clock(node, offset_s, "the other peers'")]
    finally:
        node.stop()


def _tells_clock(node: Daemon, offset_s: int, whose: str) -> str:
    """Return what the node's status says of its clock, once it says this offset and what to do."""
    near = "|".join(str(abs(offset_s) + error) for error in (-1, 0, 1))  # the tracker's clock is read to the second
    direction = "ahead of" if offset_s > 0 else "behind"
    told = re.compile(rf"clock is ({near}) s {direction} {whose}.*timedatectl set-ntp true")
    problem: str = wait_until(
        lambda: next((text for text in status_of(node)["problems"] if told.search(text)), ""),
        f"the node's status tells that its clock is {offset_s} s off",
    )
    return problem


def _serves(client: InferenceClient, node: Daemon) -> None:
    result = client.chat(messages=[{"role": "user", "content": "Hello"}], region="africa", max_tokens=2)
    assert result.route.node == node.run["peer_id"]

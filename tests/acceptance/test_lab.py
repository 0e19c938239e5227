"""The network lab's world: hosts in network namespaces, cities apart; in short, and whole in ``make test-full``."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gpunode_benchmarks.lab.errors import LabUnavailable
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.lab_network import PRELOAD, LabNetwork
from gpunode_benchmarks.lab.world import find_world, load_world
from gpunode_benchmarks.overhead_engines import paced_model
from gpunode_protocol.adverts import ADVERT_LIFETIME_S, ANNOUNCE_INTERVAL_S

from tests.acceptance.lab_calls import HASTE
from tests.acceptance.processes import wait_until
from tests.needs import lacking

pytestmark = pytest.mark.acceptance

CALLS = "tests.acceptance.lab_calls"
MODEL = paced_model(20)
TRACKER, NEAR, FAR, CLIENT = "virginia-1", "frankfurt-1", "tokyo-1", "london-1"
FAR_CLIENT = "seoul-1"
OTHERS = ["stockholm-1", "milan-1", "montreal-1", "oregon-1"]
HASTY_MODEL = paced_model(15)
HASTY = ["singapore-1", "mumbai-1", "sao-paulo-1"]
"""Nodes for the short forms, for which the mesh's minutes pass six times faster."""
KILLING_S, WITHOUT_TRACKER_S = 300.0, 600.0
SHORT_S = 8.0
"""Of jobs, in the short forms."""
PATIENCE_S = 120.0
TOKENS = 250
SHORT_TOKENS = 60
LONGEST_PAUSE_S = 6.5
"""5 s in which any node may be silent, and 1.5 s for another one to be asked, to read what came and to go on."""


@pytest.fixture(scope="module")
def network() -> Iterator[LabNetwork]:
    """A tracker in Virginia, nodes in Tokyo and Frankfurt; packets wait for other tests like everybody else."""
    world = load_world(find_world("clouds"))
    try:
        lab = Lab.start("clouds", world, preload=(*PRELOAD, CALLS), real_time=False)
    except LabUnavailable as error:
        lacking("lab", str(error))
    with lab, LabNetwork(lab, TRACKER) as running:
        running.start_nodes([NEAR, FAR], MODEL)
        yield running


def _cut_in_the_middle(network: LabNetwork, client: str, near: str, far: str) -> float:
    """Let the nearest host answer, cut its line, and see that the other one finishes the answer.

    Return the longest time that the caller waited for the next piece, in seconds.
    """
    lab, told = network.lab, network.lab.folder_of(client) / "begun"
    arguments = {"client": network.client_of(client), "model": MODEL, "tokens": TOKENS, "told": str(told)}
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(lab.call, client, f"{CALLS}:tell_a_story", PATIENCE_S, **arguments)
        wait_until(lambda: told.exists() or asking.done(), "the answer has begun", PATIENCE_S)
        lab.cut(near)
        answer = asking.result()
    lab.mend(near)
    first, last = answer["segments"]
    nodes = [network.nodes[host].run["peer_id"] for host in (near, far)]
    assert ([first["node"], last["node"]], last["ended"]) == (nodes, "done")
    assert "silent for 5 s" in first["ended"]
    assert first["units"] + last["units"] == TOKENS
    assert answer["shown"] == answer["ids"] == list(range(answer["ids"][0], answer["ids"][0] + TOKENS))
    return float(answer["longest_pause_s"])


def test_a_host_that_falls_silent_in_the_middle_of_an_answer(
    network: LabNetwork, record_property: Callable[[str, object], None]
) -> None:
    """The nearest node answers; when its line is cut the one on the other side of the world finishes."""
    record_property("longest_pause_s", _cut_in_the_middle(network, CLIENT, NEAR, FAR))


@pytest.mark.full
def test_a_caller_does_not_wait_long_for_a_host_that_falls_silent(
    network: LabNetwork, record_property: Callable[[str, object], None]
) -> None:
    """The other way round, from a client that knows nothing of the first cut: 5 s of silence, and the way to Europe."""
    pause_s = _cut_in_the_middle(network, FAR_CLIENT, FAR, NEAR)
    record_property("longest_pause_s", pause_s)
    assert pause_s <= LONGEST_PAUSE_S


@pytest.fixture(scope="module")
def six_nodes(network: LabNetwork) -> LabNetwork:
    """Four nodes more."""
    network.start_nodes(OTHERS, MODEL)
    return network


def _partition_heals(
    network: LabNetwork,
    model: str,
    hosts: list[str],
    far_side: list[str],
    haste: float = 1.0,
    forgetful: Sequence[str] = (),
) -> float:
    """Cut the far side off until its adverts have run out, mend, and see that a client finds all of the model's hosts.

    forgetful: hosts of the far side; it lasts until they know nobody of the near one either, and they must find their
    way back (to whom failed to answer several times they speak later).

    Return how long that took after the mending, in seconds: two announce intervals at most.
    """
    lab = network.lab
    nodes = {host: network.nodes[host].run["peer_id"] for host in hosts}
    near_side = [host for host in {TRACKER, CLIENT, *network.nodes} if host not in far_side]

    def found() -> set[str]:
        arguments = {"client": network.client_of(CLIENT), "model": model}
        return set(lab.call(CLIENT, f"{CALLS}:found_in_dht", PATIENCE_S, **arguments))

    wait_until(lambda: found() == set(nodes.values()), "all nodes are found", PATIENCE_S)
    everybody = len(network.nodes)  # the tracker is one more, the node that counts them one less

    def known(host: str) -> int:
        return int(network.status_of(host)["mesh"]["peers_known"])

    wait_until(lambda: all(known(host) == everybody for host in forgetful), "everybody is known", PATIENCE_S)
    pairs = list(itertools.product(far_side, near_side))
    for pair in pairs:
        lab.cut(*pair)
    try:
        near_nodes = {peer for host, peer in nodes.items() if host in near_side}
        run_out_s = 2 * ADVERT_LIFETIME_S / haste
        wait_until(lambda: found() == near_nodes, "the other side's adverts have run out", run_out_s)
        wait_until(
            lambda: all(known(host) < len(far_side) for host in forgetful), "the near side is forgotten", run_out_s
        )
    finally:
        for pair in pairs:
            lab.mend(*pair)
    mended_at = time.monotonic()
    wait_until(
        lambda: all(known(host) >= len(far_side) for host in forgetful) and found() == set(nodes.values()),
        "the adverts have converged",
        2 * ANNOUNCE_INTERVAL_S / haste,
    )
    return time.monotonic() - mended_at


def _told(network: LabNetwork) -> Path:
    return network.lab.folder_of(CLIENT) / "answering"


def _next_to_answer(network: LabNetwork) -> str:
    """Wait until the client has got the beginning of another answer; return the host that gives it."""
    told = _told(network)
    before = told.read_text(encoding="utf-8") if told.exists() else ""
    text = wait_until(
        lambda: told.exists() and (now := told.read_text(encoding="utf-8")) != before and now,
        "another answer has begun",
        PATIENCE_S,
    )
    peer = text.split()[1]
    return next(host for host, node in network.nodes.items() if node.run["peer_id"] == peer)


def _keep_asking(network: LabNetwork, model: str, seconds: float, tokens: int) -> list[dict[str, Any]]:
    """Let a client ask one job after the other; return what came of each."""
    arguments = {"client": network.client_of(CLIENT), "model": model, "told": str(_told(network))}
    patience_s = seconds + PATIENCE_S
    outcomes: list[dict[str, Any]] = network.lab.call(
        CLIENT, f"{CALLS}:keep_asking", patience_s, **arguments, tokens=tokens, seconds=seconds
    )
    return outcomes


def _all_done(outcomes: list[dict[str, Any]]) -> None:
    assert outcomes
    assert [outcome["problem"] for outcome in outcomes] == [""] * len(outcomes)


def _without_tracker(network: LabNetwork, model: str, seconds: float, tokens: int) -> int:
    """Cut the tracker off and ask; see that all jobs are done, and all receipts in the ledger after; count them."""
    lab = network.lab
    _keep_asking(network, model, 0.0, tokens=1)  # the client gets its grant
    lab.cut(TRACKER)
    try:
        outcomes = _keep_asking(network, model, seconds, tokens)
    finally:
        lab.mend(TRACKER)
    _all_done(outcomes)
    receipts = [outcome["receipt"] for outcome in outcomes]
    arguments = {"client": network.client_of(CLIENT), "receipts": receipts}
    assert lab.call(CLIENT, f"{CALLS}:missing_receipts", PATIENCE_S, **arguments) == []
    return len(outcomes)


def _kill_some(network: LabNetwork, model: str, killed: int, seconds: float, tokens: int) -> list[dict[str, Any]]:
    """Kill so many nodes, each in the middle of an answer; see that every job is done; return what came of each.

    No token is lost or repeated, and where a node was killed another one finished.
    """
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(_keep_asking, network, model, seconds, tokens)
        for _ in range(killed):
            threading.Event().wait(seconds / (killed + 1))
            network.lab.kill(_next_to_answer(network))
        outcomes = asking.result()
    _all_done(outcomes)
    assert 1 <= sum(outcome["segments"] > 1 for outcome in outcomes) <= killed
    return outcomes


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_partition_heals(six_nodes: LabNetwork, record_property: Callable[[str, object], None]) -> None:
    """While it lasts the other side's adverts run out; two announce intervals after it everybody is found again."""
    record_property("converged_s", _partition_heals(six_nodes, MODEL, [NEAR, FAR, *OTHERS], [FAR, "oregon-1"]))


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_tracker_is_cut_off_for_ten_minutes(
    six_nodes: LabNetwork, record_property: Callable[[str, object], None]
) -> None:
    """Every job is done, and every receipt is in the ledger after."""
    record_property("jobs", _without_tracker(six_nodes, MODEL, WITHOUT_TRACKER_S, TOKENS))


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_third_of_the_nodes_is_killed(six_nodes: LabNetwork, record_property: Callable[[str, object], None]) -> None:
    """Two of six, each in the middle of an answer, within five minutes: every job is done."""
    outcomes = _kill_some(six_nodes, MODEL, 2, KILLING_S, TOKENS)
    record_property("jobs", len(outcomes))
    record_property("cut", sum(outcome["segments"] > 1 for outcome in outcomes))
    record_property("longest_pause_s", max(outcome["longest_pause_s"] for outcome in outcomes))


@pytest.fixture(scope="module")
def hasty_nodes(network: LabNetwork) -> LabNetwork:
    """Three nodes for the short forms, with a model of their own."""
    network.start_nodes(HASTY, HASTY_MODEL, node_call=f"{CALLS}:run_hasty_node")
    return network


def test_a_partition_heals_in_short(hasty_nodes: LabNetwork, record_property: Callable[[str, object], None]) -> None:
    """With announce intervals of ten seconds; two nodes lose the way to the tracker and the near side, and rejoin."""
    far_side = [FAR, *HASTY[:2]]
    converged_s = _partition_heals(hasty_nodes, HASTY_MODEL, HASTY, far_side, HASTE, forgetful=HASTY[:2])
    record_property("converged_s", converged_s)


def test_the_tracker_is_cut_off_for_seconds(hasty_nodes: LabNetwork) -> None:
    """Every job is done, and every receipt is in the ledger after."""
    _without_tracker(hasty_nodes, HASTY_MODEL, SHORT_S, SHORT_TOKENS)


def test_one_of_three_nodes_is_killed(hasty_nodes: LabNetwork) -> None:
    """In the middle of an answer: every job is done."""
    _kill_some(hasty_nodes, HASTY_MODEL, 1, SHORT_S, SHORT_TOKENS)

"""The network lab's world in short: hosts in network namespaces, cities apart. All of it runs in ``make test-full``."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
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

from tests.acceptance.processes import wait_until

pytestmark = pytest.mark.acceptance

CALLS = "tests.acceptance.lab_calls"
MODEL = paced_model(20)
TRACKER, NEAR, FAR, CLIENT = "virginia-1", "frankfurt-1", "tokyo-1", "london-1"
FAR_CLIENT = "seoul-1"
OTHERS = ["stockholm-1", "milan-1", "montreal-1", "oregon-1"]
KILLED = 2
"""Of the six nodes: a third."""
KILLING_S, WITHOUT_TRACKER_S = 300.0, 600.0
PATIENCE_S = 120.0
TOKENS = 250
LONGEST_PAUSE_S = 6.5
"""5 s in which any node may be silent, and 1.5 s for another one to be asked, to read what came and to go on."""


@pytest.fixture(scope="module")
def network() -> Iterator[LabNetwork]:
    """A tracker in Virginia, nodes in Tokyo and Frankfurt; packets wait for other tests like everybody else."""
    world = load_world(find_world("clouds"))
    try:
        lab = Lab.start("clouds", world, preload=(*PRELOAD, CALLS), real_time=False)
    except LabUnavailable as error:
        pytest.skip(str(error))
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


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_partition_heals(six_nodes: LabNetwork, record_property: Callable[[str, object], None]) -> None:
    """While it lasts the other side's adverts run out; two announce intervals after it everybody is found again."""
    lab = six_nodes.lab
    far_side = [FAR, "oregon-1"]
    near_side = [TRACKER, CLIENT, NEAR, "stockholm-1", "milan-1", "montreal-1"]
    nodes = {host: six_nodes.nodes[host].run["peer_id"] for host in (NEAR, FAR, *OTHERS)}

    def found() -> set[str]:
        arguments = {"client": six_nodes.client_of(CLIENT), "model": MODEL}
        return set(lab.call(CLIENT, f"{CALLS}:found_in_dht", PATIENCE_S, **arguments))

    wait_until(lambda: found() == set(nodes.values()), "all nodes are found", PATIENCE_S)
    pairs = list(itertools.product(far_side, near_side))
    for pair in pairs:
        lab.cut(*pair)
    try:
        near_nodes = {nodes[host] for host in near_side if host in nodes}
        wait_until(lambda: found() == near_nodes, "the other side's adverts have run out", 2 * ADVERT_LIFETIME_S)
    finally:
        for pair in pairs:
            lab.mend(*pair)
    mended_at = time.monotonic()
    wait_until(lambda: found() == set(nodes.values()), "the adverts have converged", 2 * ANNOUNCE_INTERVAL_S)
    record_property("converged_s", time.monotonic() - mended_at)


def _told(network: LabNetwork) -> Path:
    return network.lab.folder_of(CLIENT) / "answering"


def _jobs(network: LabNetwork) -> dict[str, Any]:
    """Return the arguments of ``keep_asking`` for one short job."""
    client, told = network.client_of(CLIENT), str(_told(network))
    return {"client": client, "model": MODEL, "tokens": 1, "seconds": 0.0, "told": told}


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


def _keep_asking(network: LabNetwork, seconds: float, meanwhile: Callable[[], None]) -> list[dict[str, Any]]:
    """Let a client ask one job after the other; return what came of each."""
    arguments = _jobs(network) | {"tokens": TOKENS, "seconds": seconds}
    with ThreadPoolExecutor(1) as thread:
        patience_s = seconds + PATIENCE_S
        asking = thread.submit(network.lab.call, CLIENT, f"{CALLS}:keep_asking", patience_s, **arguments)
        meanwhile()
        outcomes: list[dict[str, Any]] = asking.result()
    return outcomes


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_tracker_is_cut_off_for_ten_minutes(
    six_nodes: LabNetwork, record_property: Callable[[str, object], None]
) -> None:
    """Every job is done, and every receipt is in the ledger after."""
    lab = six_nodes.lab
    lab.call(CLIENT, f"{CALLS}:keep_asking", PATIENCE_S, **_jobs(six_nodes))  # the client gets its grant
    lab.cut(TRACKER)
    try:
        outcomes = _keep_asking(six_nodes, WITHOUT_TRACKER_S, lambda: None)
    finally:
        lab.mend(TRACKER)
    record_property("jobs", len(outcomes))
    assert outcomes
    assert [outcome["problem"] for outcome in outcomes] == [""] * len(outcomes)
    receipts = [outcome["receipt"] for outcome in outcomes]
    assert (
        lab.call(CLIENT, f"{CALLS}:missing_receipts", PATIENCE_S, client=six_nodes.client_of(CLIENT), receipts=receipts)
        == []
    )


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_third_of_the_nodes_is_killed(six_nodes: LabNetwork, record_property: Callable[[str, object], None]) -> None:
    """Each in the middle of an answer, within five minutes: every job is done, and no token is lost or repeated."""

    def kill() -> None:
        for _ in range(KILLED):
            threading.Event().wait(KILLING_S / (KILLED + 1))
            six_nodes.lab.kill(_next_to_answer(six_nodes))

    outcomes = _keep_asking(six_nodes, KILLING_S, kill)
    record_property("jobs", len(outcomes))
    record_property("cut", sum(outcome["segments"] > 1 for outcome in outcomes))
    record_property("longest_pause_s", max(outcome["longest_pause_s"] for outcome in outcomes))
    assert outcomes
    assert [outcome["problem"] for outcome in outcomes] == [""] * len(outcomes)
    assert 1 <= sum(outcome["segments"] > 1 for outcome in outcomes) <= KILLED

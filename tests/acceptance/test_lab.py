"""The network lab's world in short: hosts in network namespaces, cities apart. All of it runs in ``make test-full``."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from gpunode_benchmarks.lab.errors import LabUnavailable
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.lab_network import PRELOAD, LabNetwork
from gpunode_benchmarks.lab.world import find_world, load_world
from gpunode_benchmarks.overhead_engines import paced_model

from tests.acceptance.processes import wait_until

pytestmark = pytest.mark.acceptance

CALLS = "tests.acceptance.lab_calls"
MODEL = paced_model(20)
NEAR, FAR, CLIENT = "frankfurt-1", "tokyo-1", "london-1"
PATIENCE_S = 120.0
TOKENS = 250


@pytest.fixture(scope="module")
def network() -> Iterator[LabNetwork]:
    """A tracker in Virginia, nodes in Tokyo and Frankfurt; packets wait for other tests like everybody else."""
    world = load_world(find_world("clouds"))
    try:
        lab = Lab.start("clouds", world, preload=(*PRELOAD, CALLS), real_time=False)
    except LabUnavailable as error:
        pytest.skip(str(error))
    with lab, LabNetwork(lab, "virginia-1") as running:
        running.start_nodes([NEAR, FAR], MODEL)
        yield running


def test_a_host_that_falls_silent_in_the_middle_of_an_answer(network: LabNetwork) -> None:
    """The nearest node answers; when its line is cut the one on the other side of the world finishes."""
    lab, told = network.lab, network.lab.folder_of(CLIENT) / "begun"
    arguments = {"client": network.client_of(CLIENT), "model": MODEL, "tokens": TOKENS, "told": str(told)}
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(lab.call, CLIENT, f"{CALLS}:tell_a_story", PATIENCE_S, **arguments)
        wait_until(lambda: told.exists() or asking.done(), "the answer has begun", PATIENCE_S)
        lab.cut(NEAR)
        answer = asking.result()
    lab.mend(NEAR)
    near, far = (network.nodes[host].run["peer_id"] for host in (NEAR, FAR))
    first, last = answer["segments"]
    assert (first["node"], last["node"], last["ended"]) == (near, far, "done")
    assert "silent for 5 s" in first["ended"]
    assert first["units"] + last["units"] == TOKENS
    assert answer["shown"] == answer["ids"] == list(range(answer["ids"][0], answer["ids"][0] + TOKENS))

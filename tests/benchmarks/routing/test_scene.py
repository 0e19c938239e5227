"""The whole scene runs in ``make test-full``: the lab's forwarder has a real-time priority, which other tests feel."""

from pathlib import Path
from random import Random

import pytest
from gpunode_benchmarks.lab.errors import LabUnavailable
from gpunode_benchmarks.lab.world import find_world, load_world
from gpunode_benchmarks.routing.bench import GOOD_MS
from gpunode_benchmarks.routing.scene import CLIENTS, CROWD, DETOURS, PACES, WORLD, detours_of, nearest, run_scene

from tests.needs import lacking


def test_the_nearest_node() -> None:
    """By its round trip."""
    assert nearest({"far": 100.0, "near": 10.0}) == "near"


def test_detours_lead_through_another_region() -> None:
    """The client in the tracker's own takes none."""
    world = load_world(find_world(WORLD))
    assert {client: detours_of(world, client) for client in CLIENTS} == {
        "seoul-1": 0,
        "stockholm-1": DETOURS,
        "montreal-1": DETOURS,
    }


@pytest.mark.full
@pytest.mark.timeout(300)
def test_every_client_does_its_jobs(smollm2_path: Path) -> None:  # noqa: ARG001 -- a paced engine takes its plan
    """Half of them beside a crowd; each is known with its node, and most went to the best one or nearly so."""
    try:
        truth = run_scene(12, Random(1))
    except LabUnavailable as error:
        lacking("lab", str(error))
    judged = [job for job in truth.jobs if job.phase >= 0]
    assert {(host, phase): 2 for host in CLIENTS for phase in (0, 1)} == {
        (host, phase): sum(job.host == host and job.phase == phase for job in judged)
        for host in CLIENTS
        for phase in (0, 1)
    }
    assert {job.node for job in truth.jobs} <= set(PACES)
    assert all(job.ended_at > job.chosen_at for job in truth.jobs)
    assert len(truth.jobs) >= len(judged) + len(CLIENTS) * (2 + CROWD)
    assert sum(truth.regret_ms(job) <= GOOD_MS for job in judged) >= 9
    assert len(truth.detours) == 2 * DETOURS
    assert all(detour.direct_first_ms < detour.queued_first_ms for detour in truth.detours)
